"""Open a cache of latents: its items, and their latents by position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.errors import BadCache, BadLatent, counted, printable, system_errors
from vaekit.latent_cache.description import CacheDescription, read_description
from vaekit.latent_cache.item_list import ListedItem, read_items
from vaekit.latent_cache.records import CachedItem, CachedLatent, Moments
from vaekit.latent_cache.shard_files import (
    FLIPPED,
    LOG_VARIANCE,
    MEAN,
    SHARDS,
    ShardRecord,
    open_latents,
    read_record,
    read_rows,
)
from vaekit.latent_cache.statistics import LatentStatistics, statistics_of
from vaekit.latent_cache.storage import holds


@dataclass(frozen=True, eq=False)
class LatentCache:
    """A cache of latents, whose shards are mapped into memory as they are read. Thread-safe and picklable."""

    folder: Path
    description: CacheDescription
    shards: Sequence[ShardRecord]
    items: Sequence[CachedItem]
    """In the order of the data set; items of equal content are there several times. Without those in quarantine."""
    places: Sequence[tuple[int, int]]
    """The shard and the row of each item."""
    missing: int = 0
    """Items of the data set without latents: in quarantine, or not encoded yet."""
    _mapped: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def __reduce__(self) -> Any:
        return open_cache, (self.folder,)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def origin(self) -> LatentOrigin:
        """The VAE that made the latents."""
        return self.description.origin

    @cached_property
    def statistics(self) -> LatentStatistics | None:
        """Mean and standard deviation of each channel over the stored latents, each content once; None if there are no
        latents."""
        return statistics_of(shard.sums for shard in self.shards)

    @property
    def has_flips(self) -> bool:
        """Whether it holds the latents of mirrored items, too."""
        return self.description.flips

    def read(self, item: int) -> CachedLatent:
        """The latents of an item.

        Raises:
            BadCache: its shard is damaged.
            BadLatent: a value is not finite.
        """
        mean, log_variance = (_first(each) for each in self.moments([item]))
        flipped = None
        if self.has_flips:
            mirrored_mean, mirrored_variance = (_first(each) for each in self.moments([item], flipped=True))
            assert mirrored_mean is not None
            flipped = (mirrored_mean, mirrored_variance)
        assert mean is not None
        return CachedLatent(self.items[item], mean, log_variance, flipped)

    def moments(self, items: Sequence[int], flipped: bool = False) -> Moments:
        """Mean and log-variance of items of one bucket: (b, z, *latent) each.

        Args:
            items: their positions.
            flipped: of the mirrored items, which must be stored.

        Raises:
            BadCache: a shard is damaged.
            BadLatent: a value is not finite, or the items have different sizes.
        """
        buckets = {self.items[item].bucket for item in items}
        if len(buckets) != 1:
            raise BadLatent(
                f"{counted(len(items), 'item')} of {counted(len(buckets), 'size')} cannot be one batch.",
                "Expected items of one bucket.",
                "Read batches by a Stream (docs/cache.md), or cache the data in one size (--buckets 0).",
            )
        prefix = FLIPPED if flipped else ""
        mean = self._gathered(f"{prefix}{MEAN}", items)
        assert mean is not None
        return mean, self._gathered(f"{prefix}{LOG_VARIANCE}", items)

    def _gathered(self, name: str, items: Sequence[int]) -> Tensor | None:
        """A tensor of items of several shards, (b, z, *latent); None if there is none of this name."""
        by_shard: dict[int, list[int]] = {}
        for position, item in enumerate(items):
            by_shard.setdefault(self.places[item][0], []).append(position)
        result: Tensor | None = None
        for shard, positions in by_shard.items():
            tensors = self._tensors(shard)
            if not holds(tensors, name):
                return None
            rows = torch.tensor([self.places[items[position]][1] for position in positions])
            values = read_rows(self.folder, self.shards[shard], tensors, name, rows)
            if not bool(values.isfinite().all()):
                bad = next(p for p, each in zip(positions, values, strict=True) if not bool(each.isfinite().all()))
                raise self._not_finite(items[bad])
            if result is None:
                result = values.new_empty((len(items), *values.shape[1:]))
            result[torch.tensor(positions)] = values
        return result

    def _tensors(self, shard: int) -> Mapping[str, Tensor]:
        mapped = self._mapped.get(shard)
        if mapped is None:
            mapped = self._mapped[shard] = open_latents(self.folder, self.shards[shard], self.description)
        return mapped

    def _not_finite(self, item: int) -> BadLatent:
        name, shard = self.items[item].name, self.shards[self.places[item][0]].name
        return BadLatent(
            f"The latents of {printable(name)}, in the shard {shard}, hold values that are NaN or infinite.",
            "Expected finite values: `vaekit cache` stores no others.",
            f"Remove {self.folder / SHARDS / shard}.json, and run the same `vaekit cache` again.",
        )


def _first(values: Tensor | None) -> Tensor | None:
    return None if values is None else values[0]


@system_errors()
def open_cache(folder: Path) -> LatentCache:
    """Open a cache of latents.

    Raises:
        NotFound: the folder holds none.
        BadCache: it is damaged, of another version, or holds no latents yet.
    """
    description = read_description(folder)
    shards = read_shards(folder, description)
    located = {item.key: (s, r) for s, shard in enumerate(shards) for r, item in enumerate(shard.items)}
    listed = read_items(folder)
    if listed is None:
        listed = [ListedItem(i.name, i.key, i.label, i.caption) for shard in shards for i in shard.items]
    present = [item for item in listed if item.key in located]
    if not present:
        raise BadCache(
            f"The cache {folder} holds no latents.",
            f"{counted(len(listed), 'item')} of its data set have none.",
            "Run the same `vaekit cache` again, and see quarantine.jsonl for items that could not be encoded.",
        )
    places = [located[item.key] for item in present]
    items = [current(shards[shard].items[row], item) for (shard, row), item in zip(places, present, strict=True)]
    return LatentCache(folder, description, shards, items, places, len(listed) - len(present))


def current(stored: CachedItem, listed: ListedItem) -> CachedItem:
    """A stored item with the name, label and caption that it has in the data set now."""
    return CachedItem(stored.key, listed.name, stored.size, stored.bucket, stored.crop, listed.label, listed.caption)


def read_shards(folder: Path, description: CacheDescription) -> list[ShardRecord]:
    """The records of all complete shards, by name.

    Raises:
        BadCache: one of them is damaged, or of another VAE.
    """
    return [read_record(folder, name, description) for name in shard_names(folder)]


def shard_names(folder: Path) -> list[str]:
    """The names of the shards with a record."""
    return sorted(path.stem for path in (folder / SHARDS).glob("*.json") if not path.name.startswith("."))
