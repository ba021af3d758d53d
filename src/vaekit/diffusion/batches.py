"""Encoded items as training data: posteriors over raw latents, and conditions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


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


@dataclass(frozen=True, eq=False)
class LatentsInMemory:
    """Encoded items in memory: a `Source` of training data."""

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
        return LatentBatch(
            taken(chosen, other.mean, plain.mean),
            None
            if plain.log_variance is None or other.log_variance is None
            else taken(chosen, other.log_variance, plain.log_variance),
            plain.condition,
        )


def taken(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Items of one tensor where `chosen` (b,) is true, else of the other."""
    return torch.where(chosen.view(-1, *[1] * (one.dim() - 1)), one, other)


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of raw latents, one of each per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(batches: Sequence[LatentBatch]) -> ChannelStatistics:
    """The statistics of samples of the posteriors, without drawing any. A channel that is constant has a standard
    deviation of 1, so that it stays as it is."""
    count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        mean = by_channel(batch.mean)
        noise = 0.0 if batch.log_variance is None else by_channel(batch.log_variance).exp().sum(dim=1)
        count += mean.shape[1]
        total = total + mean.sum(dim=1)
        squares = squares + mean.square().sum(dim=1) + noise
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    std = torch.where(variance > LEAST_VARIANCE * (1 + mean.square()), variance.sqrt(), 1.0)
    return ChannelStatistics(tuple(mean.tolist()), tuple(std.tolist()))


LEAST_VARIANCE = 1e-12
"""Below this, relative to the square of the mean, a variance is rounding."""


def by_channel(latents: Tensor) -> Tensor:
    """Latents (b, z, ...) -> (z, n)."""
    return latents.double().transpose(0, 1).flatten(1)
