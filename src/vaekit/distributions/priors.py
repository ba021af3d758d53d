"""Priors p(z) without learned parameters."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Posterior, Prior, standard_noise, sum_items
from vaekit.shapes import PerItem


@dataclass(frozen=True)
class StandardNormal:
    """p(z) = N(0, 1) per element."""

    def log_prob(self, z: Tensor) -> PerItem:
        return -0.5 * sum_items(z.square() + math.log(2 * math.pi))

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...), dtype and device of `like`."""
        return standard_noise(like, generator)


@dataclass(frozen=True)
class UniformCodes:
    """A uniform distribution over `size` codes at every position: the prior of a vector quantizer. With n indices of K
    codes each per position, `size` is K^n."""

    size: int

    def log_prob(self, z: Tensor) -> PerItem:
        """log p(z) of embedded codes (b, d, positions...), with one code per position."""
        positions = math.prod(z.shape[2:])
        return torch.full((z.shape[0],), -positions * math.log(self.size), device=z.device)


@dataclass(frozen=True)
class Always:
    """A `ToPrior` that returns a fixed prior."""

    prior: Prior

    def __call__(self, _: Callable[[Tensor], Posterior]) -> Prior:
        return self.prior
