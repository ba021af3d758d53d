"""Cells of data with independent elements on evenly spaced levels, such as pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.cells import Cells
from vaekit.codec.types import Integers
from vaekit.distributions import (
    Bernoulli,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    Likelihood,
    Normal,
    SignedBernoulli,
)
from vaekit.errors import BadPlan

Cumulative = Callable[[Tensor, Tensor], Tensor]
"""(values (m,), chosen elements (m,)) -> the probabilities of less, (m,)."""


@dataclass(frozen=True)
class Levels:
    """Evenly spaced values from the lowest to the highest one."""

    low: float
    high: float
    count: int

    def cells(self, x: Tensor) -> Integers:
        """The number of the nearest level of each value, flattened (n,)."""
        return self._numbers(x).round().clamp(0, self.count - 1).long().cpu().numpy()

    def holds(self, x: Tensor) -> Tensor:
        """Whether all values of each item (b, ...) are levels, up to rounding, (b,)."""
        numbers = self._numbers(x)
        apart = (numbers - numbers.round().clamp(0, self.count - 1)).abs()
        return (apart < 1e-3).view(len(x), -1).all(dim=1)

    def nearest(self, x: Tensor) -> Tensor:
        """The nearest level of each value, in single precision."""
        return self.values(self.cells(x)).view(x.shape)

    def values(self, cells: Integers) -> Tensor:
        """The inverse, in single precision as data are."""
        share = torch.from_numpy(cells).double() / (self.count - 1)
        return (self.low + share * (self.high - self.low)).float()

    def _numbers(self, x: Tensor) -> Tensor:
        return (x.double().flatten() - self.low) * ((self.count - 1) / (self.high - self.low))

    def edges(self, cells: Tensor) -> Tensor:
        """Values half a level below those of cells."""
        return self.low + (cells.double() - 0.5) * ((self.high - self.low) / (self.count - 1))


@dataclass(frozen=True)
class LevelCells:
    """Independent elements: the probability of a level is that of the interval around it, of the lowest and highest one
    with the tail."""

    levels: Levels
    elements: int
    below: Cumulative

    @property
    def counts(self) -> Integers:
        return np.full(self.elements, self.levels.count, dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return self.below(self.levels.edges(edges), chosen)


def level_cells(likelihood: Likelihood, levels: Levels) -> Cells:
    """The probabilities of data on levels, in double precision.

    Args:
        likelihood: of a batch.
        levels: the values that elements have. Those of a continuous likelihood get the probability of intervals.

    Raises:
        BadPlan: the likelihood has no probabilities of levels.
    """
    below = _below(likelihood, levels)
    return LevelCells(levels, likelihood.mode.numel(), below)


def _below(likelihood: Likelihood, levels: Levels) -> Cumulative:
    match likelihood:
        case Normal():
            return partial(_standardized, torch.special.ndtr, *_flat(likelihood.mean, likelihood.scale))
        case Laplace():
            return partial(_standardized, _laplace, *_flat(likelihood.mean, likelihood.scale))
        case DiscretizedLogistic():
            return partial(_standardized, torch.sigmoid, *_flat(likelihood.mean, likelihood.scale))
        case DiscretizedLogisticMixture():
            mixed = (likelihood.logits.double().softmax(dim=1), likelihood.mean, likelihood.scale)
            return partial(_mixed, *(each.double().transpose(0, 1).flatten(1) for each in mixed))
        case Bernoulli() | SignedBernoulli() if levels.count == 2:
            return partial(_zero, likelihood.logits.double().flatten())
    raise BadPlan(
        f"A likelihood of the kind {type(likelihood).__name__} gives {levels.count} levels no probabilities.",
        "Expected one that is normal, laplace, or discretized logistic; or black and white items for a Bernoulli one.",
        "Train a VAE with another likelihood: the recipe codec-mnist has one.",
    )


def _flat(mean: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
    """Mean and scale of each element, in double precision."""
    mean = mean.double()
    return mean.flatten(), torch.as_tensor(scale).double().expand(mean.shape).flatten()


def _standardized(function: Callable[[Tensor], Tensor], mean: Tensor, scale: Tensor, x: Tensor, at: Tensor) -> Tensor:
    return function((x - mean[at]) / scale[at])


def _mixed(weights: Tensor, mean: Tensor, scale: Tensor, x: Tensor, at: Tensor) -> Tensor:
    return (weights[:, at] * torch.sigmoid((x - mean[:, at]) / scale[:, at])).sum(dim=0)


def _laplace(x: Tensor) -> Tensor:
    half = 0.5 * torch.exp(-x.abs())
    return torch.where(x < 0, half, 1 - half)


def _zero(logits: Tensor, x: Tensor, at: Tensor) -> Tensor:
    del x  # the only edge
    return torch.sigmoid(-logits[at])
