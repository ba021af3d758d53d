"""Files of ai-toolkit: a safetensors file for each image, in a folder `_latent_cache` beside it.

`<stem>_<hash>.safetensors`, where the hash is that of a JSON object with the image's file name, how it is scaled and
cropped, whether it is mirrored, and the name of the latent space. The metadata holds the same values. The key is
`latent`. All models store normalized latents.

Source: `toolkit/dataloader_mixins.py`, `toolkit/metadata.py`, `toolkit/data_loader.py` and `encode_images` of the
models in ostris/ai-toolkit, commit 27a03a9.
"""

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.errors import BadLatent, printable
from vaekit.geometry import size_text
from vaekit.latent_cache.foreign.mark import KEY, OriginMark, mark_from
from vaekit.latent_cache.foreign.names import Source, inside, source_in
from vaekit.latent_cache.foreign.records import Stored, StoredLatents, Variant
from vaekit.latent_cache.foreign.tensors import lacking, latents_from, open_safe, write_safe

FOLDER, ENDING = "_latent_cache", ".safetensors"
HASHED = re.compile(r"(?P<stem>.+)_[A-Za-z0-9_-]{22}\.safetensors")
"""A name with an MD5 in base64."""
LATENT_VERSION = 1
SPACE = "latent_space_version"
TEXTS = ("filename", SPACE)
"""Values that are text."""
BESIDE = ("format", "software", KEY)
"""What else the metadata holds."""
VARIANTS = (
    Variant("sd1", ("SD1 / SD2",), Stored.NORMALIZED, 4, 8),
    Variant("sdxl", ("SDXL",), Stored.NORMALIZED, 4, 8),
    Variant("sd3", ("SD3 / SD3.5",), Stored.NORMALIZED, 16, 8),
    Variant("flux1", ("FLUX.1",), Stored.NORMALIZED, 16, 8),
    Variant("flux_kontext", ("FLUX.1",), Stored.NORMALIZED, 16, 8),
    Variant("chroma", ("FLUX.1",), Stored.NORMALIZED, 16, 8),
    Variant("zimage", ("FLUX.1",), Stored.NORMALIZED, 16, 8),
    Variant("flux2", ("FLUX.2",), Stored.NORMALIZED, 128, 16),
    Variant("flux2_klein_4b", ("FLUX.2",), Stored.NORMALIZED, 128, 16),
    Variant("flux2_klein_9b", ("FLUX.2",), Stored.NORMALIZED, 128, 16),
    Variant("qwen_image", ("Qwen-Image", "Wan 2.1"), Stored.NORMALIZED, 16, 8),
    Variant("krea2", ("Qwen-Image", "Wan 2.1"), Stored.NORMALIZED, 16, 8),
    Variant("anima", ("Wan 2.1", "Qwen-Image"), Stored.NORMALIZED, 16, 8),
    Variant("wan21", ("Wan 2.1",), Stored.NORMALIZED, 16, 8, frames=True),
)


@dataclass(frozen=True)
class Preparation:
    """How the program scales and crops an image: the values that name a file."""

    scale_to_width: int
    scale_to_height: int
    crop_x: int
    crop_y: int
    crop_width: int
    crop_height: int


class AIToolkit:
    """Cached latents of ai-toolkit."""

    name = "ai-toolkit"
    title = "ai-toolkit"
    place = (
        f"in {FOLDER} beside the images: give the folder of the images as OUT; other buckets than its own are ignored"
    )
    loses = "the variance, labels and captions (it reads captions beside the images)"
    keeps_flips = True
    variants: tuple[Variant, ...] = VARIANTS

    def claims(self, path: Path) -> bool:
        if path.suffix.lower() != ENDING:
            return False
        return path.parent.name == FOLDER or HASHED.fullmatch(path.name) is not None

    def read(self, path: Path) -> Sequence[StoredLatents]:
        file = open_safe(path)
        if "latent" not in file.names:
            raise lacking(path, "latent, which the loader requires", file.names)
        latents, facts = latents_from(path, "latent", file.read("latent")), file.metadata
        variant = variant_named(facts.get(SPACE, ""))
        preparation = preparation_in(facts)
        wrong = wrong_sizes(preparation, tuple(latents.shape[-2:]), variant) if preparation else []
        if preparation and path.name != file_name(values_in(facts)):
            wrong.append("its name is not the one that follows from its metadata, so the program does not find it")
        match = HASHED.fullmatch(path.name)
        return [
            StoredLatents(
                facts.get("filename") or (match["stem"] if match else path.stem),
                variant,
                latents,
                encoded=(preparation.crop_height, preparation.crop_width) if preparation else None,
                mirrored=values_in(facts).get("flip_x") is True,
                mark=mark_from(facts.get(KEY, "")),
                wrong_sizes=tuple(wrong),
            )
        ]

    def source(self, path: Path, name: str) -> Source:
        return source_in([path.parent.parent if path.parent.name == FOLDER else path.parent], name)

    @contextmanager
    def writer(self, folder: Path, mark: OriginMark) -> Iterator["AIToolkitWriter"]:
        yield AIToolkitWriter(folder, mark)


def variant_named(version: str) -> Variant:
    """The latents of a model; of an unknown model, those that any VAE may have made."""
    known = next((each for each in VARIANTS if each.name == version), None)
    return known or Variant(printable(version, 40) or "unknown", (), Stored.NORMALIZED)


def values_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The values that name a file, from its metadata, which holds all but text as JSON."""
    values: dict[str, Any] = {}
    for name, text in metadata.items():
        if name in TEXTS:
            values[name] = text
        elif name not in BESIDE:
            try:
                values[name] = json.loads(text)
            except (ValueError, RecursionError):
                values[name] = text
    return values


def preparation_in(metadata: Mapping[str, str]) -> Preparation | None:
    """How the image was scaled and cropped; None where the metadata does not state it."""
    values = values_in(metadata)
    numbers = [values.get(each.name) for each in fields(Preparation)]
    return Preparation(*numbers) if all(type(each) is int for each in numbers) else None  # type: ignore[arg-type]


def wrong_sizes(preparation: Preparation, size: tuple[int, ...], variant: Variant) -> list[str]:
    """Contradictions between the metadata and the latents, as phrases."""
    height, width = preparation.crop_height, preparation.crop_width
    factor = variant.factor
    wrong = []
    if factor and (height // factor, width // factor) != size:
        wrong.append(f"the latents are {size_text(size)}, and the image was cropped to {size_text((height, width))}")
    if not (
        0 <= preparation.crop_x <= preparation.scale_to_width - width
        and 0 <= preparation.crop_y <= preparation.scale_to_height - height
    ):
        wrong.append(
            f"the crop of {size_text((height, width))} at ({preparation.crop_x}, {preparation.crop_y}) leaves the "
            f"image, scaled to {size_text((preparation.scale_to_height, preparation.scale_to_width))}"
        )
    return wrong


def file_name(values: Mapping[str, Any]) -> str:
    """The name of the file with these values; the program computes it to find the file."""
    digest = hashlib.md5(json.dumps(values, sort_keys=True).encode(), usedforsecurity=False).digest()
    stem = os.path.splitext(str(values.get("filename", "")))[0]  # noqa: PTH122 (any ending, as the program does)
    return f"{stem}_{base64.urlsafe_b64encode(digest).decode().rstrip('=')}{ENDING}"


def centered(size: tuple[int, int], encoded: tuple[int, int]) -> Preparation:
    """How the program prepares an image that it puts into the bucket of this size: scaled to cover it, with the center
    cut out.

    Args:
        size: (height, width) of the image.
        encoded: (height, width) of the bucket.
    """
    scale = max(encoded[1] / size[1], encoded[0] / size[0])
    height, width = math.ceil(size[0] * scale), math.ceil(size[1] * scale)
    return Preparation(
        width, height, int((width - encoded[1]) / 2), int((height - encoded[0]) / 2), encoded[1], encoded[0]
    )


class AIToolkitWriter:
    """Writes one file for each image, and one for its mirrored latents, into `_latent_cache` of its folder."""

    def __init__(self, folder: Path, mark: OriginMark) -> None:
        self.folder, self.mark = folder, mark

    def add(self, item: StoredLatents) -> Path:
        if item.size is None or item.encoded is None:
            raise BadLatent(f"The size of {item.name} is unknown.", "Expected the size of the image.", "")
        image = inside(self.folder, item.name)
        values = {"filename": image.name, **asdict(centered(item.size, item.encoded))}
        values |= {SPACE: item.variant.name, "latent_version": LATENT_VERSION}
        if item.flipped is not None:
            self._write(image.parent, values | {"flip_x": True}, item.flipped)
        return self._write(image.parent, values, item.latents)

    def _write(self, folder: Path, values: Mapping[str, Any], latents: Tensor) -> Path:
        path = folder / FOLDER / file_name(values)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        write_safe(path, {"latent": latents}, texts | {"format": "pt", KEY: self.mark.as_text()})
        return path


AI_TOOLKIT = AIToolkit()
