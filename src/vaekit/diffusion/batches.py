"""Encoded items as training data: posteriors over raw latents, and conditions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.latent_cache.statistics import LatentStatistics


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """Posteriors of some items, each with its condition."""

    mean: Tensor
    """Raw latents (b, z, ...)."""
    log_variance: Tensor | None = None
    """Of the same shape; None for latents without noise."""
    condition: Tensor | None = None
    """(b, ...), as the model's condition takes them; None without conditions."""

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """All parts."""
        return self.mean, self.log_variance, self.condition

    def to(self, device: torch.device) -> "LatentBatch":
        """The batch on a device."""
        mean, *others = (None if each is None else each.to(device) for each in self.tensors)
        assert mean is not None
        return LatentBatch(mean, *others)

    def at(self, items: Tensor) -> "LatentBatch":
        """The items with these indices (b,)."""
        mean, *others = (None if each is None else each.index_select(0, items) for each in self.tensors)
        assert mean is not None
        return LatentBatch(mean, *others)

    def split(self, size: int) -> Iterator["LatentBatch"]:
        """Parts of `size` items."""
        for items in torch.arange(len(self), device=self.mean.device).split(size):
            yield self.at(items)

    def sample(self, generator: Generator) -> Tensor:
        """Raw latents, a sample of each posterior; random numbers are drawn on the device of the generator."""
        if self.log_variance is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device)
        return self.mean + torch.exp(0.5 * self.log_variance) * noise.to(self.mean.device)


@runtime_checkable
class HasMoments(Protocol):
    """A batch of posteriors, such as one of a cache of latents."""

    @property
    def mean(self) -> Tensor:
        """(b, z, ...)."""

    @property
    def log_variance(self) -> Tensor | None:
        """Of the same shape, or None."""


@runtime_checkable
class MomentSource(Protocol):
    """Encoded items; see `vaekit.training.data.Source`."""

    def __len__(self) -> int:
        """The number of items."""

    def batch(self, items: Tensor, seed: int) -> HasMoments:
        """The posteriors of the items with these indices (b,)."""


@dataclass(frozen=True, eq=False)
class LatentsInMemory:
    """Encoded items in memory."""

    items: LatentBatch
    mirrored: LatentBatch | None = None
    """The same items, encoded after they were mirrored: each is taken half of the times."""

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, items: Tensor, seed: int) -> LatentBatch:
        """The items with these indices; see `Source`."""
        plain = self.items.at(items)
        if self.mirrored is None:
            return plain
        chosen = torch.rand(len(items), generator=Generator().manual_seed(seed)) < 0.5
        other = self.mirrored.at(items)
        variances = plain.log_variance, other.log_variance
        noise = None if variances[0] is None or variances[1] is None else taken(chosen, variances[1], variances[0])
        return LatentBatch(taken(chosen, other.mean, plain.mean), noise)


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Encoded items with their conditions: a `Source` of training data."""

    source: MomentSource
    condition: Tensor | None
    """Of each item, (n, ...)."""
    table: Tensor | None = None
    """If conditions are rows of a table, the table (rows, ...)."""

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, items: Tensor, seed: int) -> LatentBatch:
        """The items with these indices; see `Source`."""
        latents = self.source.batch(items, seed)
        condition = None if self.condition is None else self.condition.index_select(0, items)
        return LatentBatch(latents.mean, latents.log_variance, looked_up(condition, self.table))


def looked_up(condition: Tensor | None, table: Tensor | None) -> Tensor | None:
    """Conditions themselves, or the rows of a table that they number, in fp32."""
    return condition if condition is None or table is None else table.index_select(0, condition).float()


def taken(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Items of one tensor where `chosen` (b,) is true, else of the other."""
    return torch.where(chosen.view(-1, *[1] * (one.dim() - 1)), one, other)


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of raw latents, one of each per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(statistics: LatentStatistics) -> ChannelStatistics:
    """The statistics by which latents are normalized: a channel that is constant keeps its scale."""
    pairs = zip(statistics.mean, statistics.std, strict=True)
    return ChannelStatistics(
        statistics.mean, tuple(std if std > LEAST * (1 + abs(mean)) else 1.0 for mean, std in pairs)
    )


LEAST = 1e-6
"""Below this, relative to the mean, a standard deviation is rounding."""
