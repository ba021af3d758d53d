"""A cache of latents as a source of training data (`vaekit.training.data.Source`).

Shuffling and resuming in the middle of an epoch are those of the stream that reads the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from vaekit.errors import BadLatent, counted
from vaekit.geometry import size_text
from vaekit.latent_cache.open import LatentCache, sizes_of
from vaekit.latent_cache.records import CachedBatch


@dataclass(frozen=True, eq=False)
class LatentSource:
    """Latents of a cache in batches of one size. Picklable and thread-safe.

    Where items have several sizes, a batch has the size of its first item, and others are replaced by random items of
    that size: every item is drawn equally often on average, instead of exactly once in each epoch.
    """

    cache: LatentCache
    chosen: Sequence[int]
    """Positions of the items in the cache."""
    flip: bool = True
    """Take the latents of the mirrored item with a probability of one half, where they are stored."""
    _alike: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """The sizes in which items were encoded."""
        return list(self._by_size())

    def batch(self, items: Tensor, seed: int) -> CachedBatch:
        """The posteriors of the items with these indices (b,). The rest follows from the seed.

        Raises:
            BadCache, BadLatent: a shard is damaged.
        """
        generator = torch.Generator().manual_seed(seed)
        positions = self._of_one_size(items, generator)
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
        return replace(self, chosen=chosen, _alike={})

    def _of_one_size(self, items: Tensor, generator: Generator) -> list[int]:
        """The positions of items of the size of the first one."""
        positions = [self.chosen[item] for item in items.tolist()]
        by_size = self._by_size()
        if len(by_size) == 1 or not positions:
            return positions
        size = self.cache.items[positions[0]].bucket
        alike = by_size[size]
        others = alike[torch.randint(len(alike), (len(positions),), generator=generator)].tolist()
        return [
            position if self.cache.items[position].bucket == size else other
            for position, other in zip(positions, others, strict=True)
        ]

    def _by_size(self) -> dict[tuple[int, ...], Tensor]:
        """The positions of the items of each size."""
        if not self._alike:
            chosen = set(self.chosen)
            by_size = {
                size: torch.tensor([position for position in positions if position in chosen])
                for size, positions in sizes_of(self.cache).items()
            }
            self._alike.update({size: positions for size, positions in by_size.items() if len(positions)})
        return self._alike


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
