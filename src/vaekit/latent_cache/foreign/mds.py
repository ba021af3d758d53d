"""Shards of MosaicML's streaming (MDS), with columns as in mosaicml/diffusion; written, not read.

A folder for each size of latents holds `index.json` and `shard.NNNNN.mds`. A shard is the number of samples and their
offsets (uint32), the configuration as JSON, and the samples: the sizes of the columns without a fixed size, then the
values of the columns in alphabetical order. Latents are normalized (or raw, if that is wanted), in fp16, as bytes
without a shape, in the column `latents_<side>`, or `latents_<W>x<H>` if the encoded image is not square.

Source: `streaming/base/format/mds/writer.py` and `reader.py` of mosaicml/streaming, commits 0205a30 and 02917cc;
`scripts/precompute_latents.py` of mosaicml/diffusion, commit 1c33dbe.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit.atomic import atomic_file
from vaekit.errors import BadLatent
from vaekit.geometry import size_text
from vaekit.latent_cache.foreign.mark import OriginMark
from vaekit.latent_cache.foreign.names import Source
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.foreign.tensors import bad_file

INDEX = "index.json"
SIZE_LIMIT = 2**26
"""Bytes of a shard, as streaming's default."""
ORIGIN = "vaekit.json"
FP16_MAX = 65504.0
INT32 = "int32"


class MDS:
    """Shards for MosaicML's streaming."""

    name = "mds"
    title = "MosaicML streaming"
    ending = ".mds"
    place = "a folder of shards for each size: give each as `local` or `remote` of a StreamingDataset"
    loses = "the variance, the crop box; latents are rounded to fp16 and have no shape beside them"
    keeps_flips = True
    variants: tuple[Variant, ...] = (
        Variant("normalized", (), Stored.NORMALIZED),
        Variant("raw", (), Stored.RAW),
    )

    def claims(self, path: Path) -> bool:
        return False

    def read(self, path: Path) -> Sequence[StoredLatents]:
        raise bad_file(path, "shards of MDS are written but not read", "Expected files of another format.")

    def source(self, path: Path, name: str) -> Source:
        return Source()

    @contextmanager
    def writer(self, folder: Path, mark: OriginMark) -> Iterator["MDSWriter"]:
        writer = MDSWriter(folder, mark)
        yield writer
        writer.finish()


@dataclass
class Shards:
    """The samples of one size, of which full shards are on the disk."""

    folder: Path
    columns: dict[str, str]
    """Their encodings, in alphabetical order."""
    samples: list[bytes] = field(default_factory=list)
    nbytes: int = 0
    written: list[dict[str, Any]] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """What the index states of each shard, and the shard of itself."""
        return {
            "version": 2,
            "format": "mds",
            "compression": None,
            "hashes": [],
            "size_limit": SIZE_LIMIT,
            "column_names": list(self.columns),
            "column_encodings": list(self.columns.values()),
            "column_sizes": [4 if encoding == INT32 else None for encoding in self.columns.values()],
        }

    def add(self, sample: dict[str, Any]) -> Path:
        """Add a sample; returns the shard that it will be in."""
        values = [encoded(encoding, sample[name]) for name, encoding in self.columns.items()]
        open_sizes = [
            len(value) for value, encoding in zip(values, self.columns.values(), strict=True) if encoding != INT32
        ]
        content = np.array(open_sizes, np.uint32).tobytes() + b"".join(values)
        if self.samples and self.nbytes + len(content) > SIZE_LIMIT:
            self.flush()
        self.samples.append(content)
        self.nbytes += len(content)
        return self.folder / self.basename

    @property
    def basename(self) -> str:
        """The name of the next shard."""
        return f"shard.{len(self.written):05d}.mds"

    def flush(self) -> None:
        """Write a shard of the samples so far.

        Raises:
            CannotWrite: the disk is full, or the like.
        """
        config = json.dumps(self.config, sort_keys=True).encode()
        count = np.uint32(len(self.samples))
        start = 4 + 4 * (len(self.samples) + 1) + len(config)
        offsets = (np.array([0, *map(len, self.samples)]).cumsum() + start).astype(np.uint32)
        content = count.tobytes() + offsets.tobytes() + config + b"".join(self.samples)
        with atomic_file(self.folder / self.basename) as part:
            part.write_bytes(content)
        raw = {"basename": self.basename, "bytes": len(content), "hashes": {}}
        self.written.append(self.config | {"samples": len(self.samples), "raw_data": raw, "zip_data": None})
        self.samples, self.nbytes = [], 0

    def finish(self) -> None:
        """Write the rest, and the index."""
        if self.samples:
            self.flush()
        with atomic_file(self.folder / INDEX) as part:
            part.write_text(json.dumps({"version": 2, "shards": self.written}, sort_keys=True))


def encoded(encoding: str, value: Any) -> bytes:
    """A value as MDS stores it."""
    if encoding == INT32:
        return np.int32(value).tobytes()
    return value.encode("utf-8", "surrogateescape") if encoding == "str" else bytes(value)


class MDSWriter:
    """Writes the latents of each size into shards of their own."""

    def __init__(self, folder: Path, mark: OriginMark) -> None:
        self.folder, self.mark = folder, mark
        self.sizes: dict[str, Shards] = {}

    def add(self, item: StoredLatents) -> Path:
        if item.encoded is None or item.size is None:
            raise BadLatent(f"The size of {item.name} is unknown.", "Expected the size of the image.", "")
        if float(item.latents.abs().max()) > FP16_MAX:
            raise BadLatent(f"Latents of {item.name} exceed the range of fp16.", "Expected less than 65,504.", "")
        height, width = item.encoded
        name = str(width) if width == height else size_text(item.encoded)
        column = f"latents_{name}"
        flipped = {} if item.flipped is None else {f"{column}_flipped": "bytes"}
        columns = {"caption": "str", "key": "str", "label": "str", "name": "str", column: "bytes", **flipped}
        columns |= dict.fromkeys(("width", "height", "original_width", "original_height"), INT32)
        shards = self.sizes.setdefault(name, Shards(self.folder / name, dict(sorted(columns.items()))))
        half = {column: item.latents, f"{column}_flipped": item.flipped}
        values = {key: each.to(torch.float16).numpy().tobytes() for key, each in half.items() if each is not None}
        return shards.add(
            {
                "caption": item.caption or "",
                "key": item.key,
                "label": item.label or "",
                "name": item.name,
                "width": width,
                "height": height,
                "original_width": item.size[1],
                "original_height": item.size[0],
                **values,
            }
        )

    def finish(self) -> None:
        """Write what is left, the indexes, and the mark of the VAE beside them."""
        for shards in self.sizes.values():
            shards.finish()
            with atomic_file(shards.folder / ORIGIN) as part:
                part.write_text(self.mark.as_text() + "\n", "utf-8")


MDS_SHARDS = MDS()
