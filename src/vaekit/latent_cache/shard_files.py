"""Shards: latents of items of one bucket in a safetensors file, and their record in a JSON file beside it.

The record is written last, and holds the hash of the latents: a shard without a record is not there. The header of the
safetensors file also names the VAE, so that the file alone can be identified.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.checkpoints.save import write_tensors
from vaekit.errors import BadArchive, BadCache, BadCheckpoint, printable, reason_of
from vaekit.formats.safetensors import open_safetensors
from vaekit.identification.metadata import NORMALIZATION, normalization_text
from vaekit.json import dumps, encodable
from vaekit.latent_cache.description import GAUSSIAN, CacheDescription, origin_json
from vaekit.latent_cache.records import CachedItem, checked_key, checked_text
from vaekit.latent_cache.statistics import Sums, sums_of
from vaekit.latent_cache.steps import CodingSteps
from vaekit.latent_cache.storage import is_stored, restored, stored
from vaekit.reading import open_file, read_json

SHARDS = "shards"
VERSION = 1
RECORD = 2**30
"""The maximum number of bytes of a record."""
MEAN, LOG_VARIANCE = "mean", "log_variance"
FLIPPED = "flipped_"
"""The prefix of the names of tensors of mirrored items."""


@dataclass(frozen=True)
class Rejected:
    """An item without latents, and why."""

    key: str
    """Empty where the content could not be read."""
    name: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """The fields as plain values."""
        return {"key": self.key, "name": encodable(self.name), "reason": encodable(self.reason)}

    @classmethod
    def from_json(cls, value: object) -> "Rejected":
        """The inverse of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise ValueError("a rejected item is no object")
        key = checked_text(value.get("key"))
        return cls(checked_key(key) if key else "", checked_text(value.get("name")), checked_text(value.get("reason")))


@dataclass(frozen=True, eq=False)
class ShardLatents:
    """The posteriors of the items of a shard over raw latents, in fp32."""

    mean: Tensor
    """(n, z, *latent)."""
    log_variance: Tensor | None = None
    """The same shape; None for posteriors without variance."""
    flipped: "ShardLatents | None" = None
    """Of the mirrored items."""


@dataclass(frozen=True)
class ShardRecord:
    """What a shard holds."""

    name: str
    items: Sequence[CachedItem]
    quarantine: Sequence[Rejected] = ()
    """Items of its plan without latents."""
    sums: Sums = field(default_factory=lambda: Sums(0, (), (), ()))
    sha256: str = ""
    """Of the safetensors file; empty if there is none because all items are in quarantine."""
    nbytes: int = 0
    """Of that file."""


def latents_path(folder: Path, name: str) -> Path:
    """The file of the latents of a shard."""
    return folder / SHARDS / f"{name}.safetensors"


def record_path(folder: Path, name: str) -> Path:
    """The file of the record of a shard."""
    return folder / SHARDS / f"{name}.json"


def write_shard(
    folder: Path,
    name: str,
    description: CacheDescription,
    items: Sequence[CachedItem],
    latents: ShardLatents | None,
    quarantine: Sequence[Rejected] = (),
    steps: CodingSteps | None = None,
) -> ShardRecord:
    """Write a shard: the latents, then the record. Equal content gives equal bytes.

    Args:
        folder: of the cache.
        name: of the shard.
        description: of the cache.
        items: in the order of the latents.
        latents: of the items; None if there are no items.
        quarantine: items of the shard without latents.
        steps: to which coded latents are rounded.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable. The shard is not there then.
    """
    path = latents_path(folder, name)
    sums, digest, nbytes = Sums(0, (), (), ()), "", 0
    if latents is not None:
        with atomic_file(path) as part:
            tensors = tensors_of(latents, description.dtype, steps=steps)
            write_tensors(tensors, part, header_of(name, description), path)
            digest, nbytes = file_digest(part)
        sums = sums_of(latents.mean, latents.log_variance)
    record = ShardRecord(name, tuple(items), tuple(quarantine), sums, digest, nbytes)
    with atomic_file(record_path(folder, name)) as part:
        part.write_text(dumps(record_json(record, description), indent=None) + "\n", "utf-8")
    return record


def tensors_of(
    latents: ShardLatents, dtype: str, prefix: str = "", steps: CodingSteps | None = None
) -> dict[str, Tensor]:
    """The tensors of a file of latents; coded ones need steps."""
    of_mean = steps.mean if steps else ()
    of_log_variance = (steps.log_variance,) * len(steps.mean) if steps else ()
    tensors = stored(f"{prefix}{MEAN}", latents.mean, dtype, of_mean)
    if latents.log_variance is not None:
        tensors |= stored(f"{prefix}{LOG_VARIANCE}", latents.log_variance, dtype, of_log_variance)
    if latents.flipped is not None:
        tensors |= tensors_of(latents.flipped, dtype, FLIPPED, steps)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def header_of(name: str, description: CacheDescription) -> dict[str, str]:
    """The metadata of the safetensors file: enough to identify it without the rest of the cache."""
    origin = description.origin
    return {
        "vaekit.latent_shard": str(VERSION),
        "vaekit.shard": name,
        "vaekit.fingerprint": origin.fingerprint,
        "vaekit.family": origin.family,
        "vaekit.geometry": json.dumps(origin.geometry.as_json()),
        "vaekit.posterior": description.posterior,
        "vaekit.dtype": description.dtype,
        NORMALIZATION: normalization_text(origin.normalization),
    }


def record_json(record: ShardRecord, description: CacheDescription) -> dict[str, Any]:
    """A record as its file holds it."""
    return {
        "version": VERSION,
        "shard": record.name,
        "vae": origin_json(description.origin),
        "posterior": description.posterior,
        "dtype": description.dtype,
        "flips": description.flips,
        "sha256": record.sha256,
        "bytes": record.nbytes,
        "sums": record.sums.as_json(),
        "items": [item.as_json() for item in record.items],
        "quarantine": [each.as_json() for each in record.quarantine],
    }


def read_record(folder: Path, name: str, description: CacheDescription) -> ShardRecord:
    """The record of a shard, and a check that its latents have their size.

    Raises:
        BadCache: it is missing, damaged, of another version, or of another VAE.
    """
    path = record_path(folder, name)
    try:
        value = read_json(path, RECORD)
        record = record_from(value, name, description)
        if record.items and os.stat(latents_path(folder, name)).st_size != record.nbytes:  # noqa: PTH116
            raise ValueError("its latents have another size")
    except (OSError, ValueError) as error:
        reason = printable(reason_of(error), 200)
        raise damaged(path, reason) from error
    return record


def record_from(value: object, name: str, description: CacheDescription) -> ShardRecord:
    """The inverse of `record_json`.

    Raises:
        ValueError: it is something else, or of another cache.
    """
    if not isinstance(value, Mapping) or value.get("version") != VERSION:
        raise ValueError(f"it is no record of version {VERSION}")
    expected = (name, origin_json(description.origin), description.posterior, description.dtype, description.flips)
    if tuple(value.get(each) for each in ("shard", "vae", "posterior", "dtype", "flips")) != expected:
        raise ValueError("it is of another VAE, or stored in another way, than the cache")
    items, quarantine, digest, nbytes = (value.get(each) for each in ("items", "quarantine", "sha256", "bytes"))
    if not isinstance(items, list) or not isinstance(quarantine, list) or type(nbytes) is not int:
        raise ValueError("it lacks its items")
    if items:
        checked_key(digest)
    parsed = [CachedItem.from_json(each) for each in items]
    if len({item.bucket for item in parsed}) > 1:
        raise ValueError("its items have different sizes")
    axes = description.origin.geometry.axes
    if any(len(item.bucket) != axes or len(item.size) != axes for item in parsed):
        raise ValueError(f"its items do not have {axes} axes")
    rejected = [Rejected.from_json(each) for each in quarantine]
    return ShardRecord(name, parsed, rejected, Sums.from_json(value.get("sums")), str(digest), nbytes)


def open_latents(folder: Path, record: ShardRecord, description: CacheDescription) -> dict[str, Tensor]:
    """The tensors of a shard, mapped from its file.

    Raises:
        BadCache: the file is damaged, or does not fit the record.
    """
    path = latents_path(folder, record.name)
    try:
        file = open_safetensors(path)
        tensors = file.read(file.specs)
    except (OSError, BadCheckpoint) as error:
        raise damaged(path, printable(reason_of(error), 200)) from error
    needed = {MEAN} | ({LOG_VARIANCE} if description.posterior == GAUSSIAN else set())
    needed |= {f"{FLIPPED}{name}" for name in needed} if description.flips else set()
    geometry = description.origin.geometry
    bucket = record.items[0].bucket
    shape = (len(record.items), geometry.latent_channels, *geometry.latent_size(bucket))
    if not all(is_stored(tensors, name, shape, description.dtype) for name in needed):
        raise damaged(path, f"its tensors do not have the shape {list(shape)}, stored as {description.dtype}")
    if file.metadata.get("vaekit.fingerprint") != description.origin.fingerprint:
        raise damaged(path, "it holds latents of another VAE")
    return tensors


def read_rows(folder: Path, record: ShardRecord, tensors: Mapping[str, Tensor], name: str, rows: Tensor) -> Tensor:
    """A tensor of some items of a shard in fp32, (b, z, *latent).

    Args:
        folder: of the cache.
        record: of the shard.
        tensors: what `open_latents` returned.
        name: of the tensor.
        rows: indices of the items, (b,).

    Raises:
        BadCache: coded latents are damaged.
    """
    try:
        return restored(tensors, name, rows)
    except BadArchive as error:
        raise damaged(latents_path(folder, record.name), "its coded latents do not have their checksum") from error


def is_intact(folder: Path, record: ShardRecord) -> bool:
    """Whether the latents of a shard have the hash of its record. Reads the whole file."""
    if not record.items:
        return True
    try:
        return file_digest(latents_path(folder, record.name)) == (record.sha256, record.nbytes)
    except OSError:
        return False


def remove_shard(folder: Path, name: str) -> None:
    """Remove a shard, the record first."""
    record_path(folder, name).unlink(missing_ok=True)
    latents_path(folder, name).unlink(missing_ok=True)


def file_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def damaged(path: Path, reason: str) -> BadCache:
    """The error for a damaged file of a cache."""
    return BadCache(
        f"{path} is damaged: {reason}.",
        "Expected a shard as `vaekit cache` writes it.",
        "Run the same `vaekit cache` again: shards that are missing or damaged are written again.",
    )
