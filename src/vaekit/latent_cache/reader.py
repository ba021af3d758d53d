"""A cache of latents as a source of training data (`vaekit.training.data.Source`).

Shuffling and resuming in the middle of an epoch are those of the stream that reads the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from vaekit.errors import BadLatent, counted
from vaekit.geometry import size_text
from vaekit.latent_cache.open import LatentCache
from vaekit.latent_cache.records import CachedBatch


@dataclass(frozen=True, eq=False)
class LatentSource:
    """Latents of a cache in batches of one size. Picklable and thread-safe.

    Where items have several sizes, each size is a group of the source, from which a `Stream` makes batches: every item
    is drawn once in each epoch.
    """

    cache: LatentCache
    chosen: Sequence[int]
    """Positions of the items in the cache."""
    flip: bool = True
    """Take the latents of the mirrored item with a probability of one half, where they are stored."""

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """The sizes in which items were encoded."""
        return list(self._by_size)

    @property
    def groups(self) -> list[Tensor]:
        """The indices of the items of each size."""
        return list(self._by_size.values())

    def batch(self, items: Tensor, seed: int) -> CachedBatch:
        """The posteriors of the items with these indices (b,), all of one size. The rest follows from the seed.

        Raises:
            BadCache, BadLatent: a shard is damaged, or the items have several sizes.
        """
        generator = torch.Generator().manual_seed(seed)
        positions = [self.chosen[item] for item in items.tolist()]
        mean, log_variance = self.cache.moments(positions)
        if self.flip and self.cache.has_flips:
            mirrored = torch.rand(len(positions), generator=generator) < 0.5
            rows = mirrored.nonzero().flatten()
            if len(rows):
                flipped = self.cache.moments([positions[row] for row in rows.tolist()], flipped=True)
                mean[rows] = flipped[0]
                if log_variance is not None and flipped[1] is not None:
                    log_variance[rows] = flipped[1]
        records = [self.cache.items[position] for position in positions]
        return CachedBatch(mean, log_variance, [item.label for item in records], [item.caption for item in records])

    def of_size(self, size: tuple[int, ...]) -> "LatentSource":
        """The items of one size."""
        chosen = [position for position in self.chosen if self.cache.items[position].bucket == size]
        return replace(self, chosen=chosen)

    @cached_property
    def _by_size(self) -> dict[tuple[int, ...], Tensor]:
        """The indices of the items of each size."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, position in enumerate(self.chosen):
            by_size.setdefault(self.cache.items[position].bucket, []).append(index)
        return {size: torch.tensor(indices) for size, indices in by_size.items()}


def latent_source(cache: LatentCache, chosen: Sequence[int] | None = None, flip: bool = True) -> LatentSource:
    """The items of a cache as a source of training data.

    Args:
        cache: the latents.
        chosen: positions of items; None for all.
        flip: take the latents of mirrored items, too, where they are stored.
    """
    return LatentSource(cache, range(len(cache)) if chosen is None else chosen, flip)


def require_one_size(source: LatentSource) -> tuple[int, ...]:
    """The only size of items, for models that take no other.

    Raises:
        BadLatent: there are several.
    """
    sizes = source.sizes
    if len(sizes) != 1:
        raise BadLatent(
            f"The cache holds items of {counted(len(sizes), 'size')}: {', '.join(map(size_text, sizes[:8]))}.",
            "Expected items of one size.",
            "Cache the data in one size (--buckets 0).",
        )
    return sizes[0]
