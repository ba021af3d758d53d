"""The priors p(z) that need no learning."""

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
        """As many latents as these (b, ...), of their shape."""
        return standard_noise(like, generator)


@dataclass(frozen=True)
class UniformCodes:
    """Every one of `size` codes equally likely at every position: the prior of a vector quantizer. Where a position has
    n indices of K each, its code is all of them together, one of K^n."""

    size: int

    def log_prob(self, z: Tensor) -> PerItem:
        """For embedded codes (b, d, positions...): one code for each position."""
        positions = math.prod(z.shape[2:])
        return torch.full((z.shape[0],), -positions * math.log(self.size), device=z.device)


@dataclass(frozen=True)
class Always:
    """The head of a VAE whose prior needs to know nothing of it."""

    prior: Prior

    def __call__(self, _: Callable[[Tensor], Posterior]) -> Prior:
        return self.prior
