"""Noise that an invertible network has bent into shape: what a learned prior may be."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from vaekit.distributions.base import standard_noise
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import PerItem


@dataclass(frozen=True, repr=False)
class Transformed:
    """p(z) of z = bend(noise), noise ~ N(0, 1), by the change of variables (Dinh et al. 2017, arXiv 1605.08803, eq. 3):

    log p(z) = log N(straighten(z)) + log |det d straighten(z) / dz|
    """

    straighten: Callable[[Tensor], tuple[Tensor, PerItem]]
    """Latents (b, ...) -> noise (b, ...) and the logarithm of the determinant, in nats."""
    bend: Callable[[Tensor], Tensor]
    """Its inverse."""

    def __repr__(self) -> str:
        return "Transformed(StandardNormal())"

    def log_prob(self, z: Tensor) -> PerItem:
        noise, log_determinant = self.straighten(z)
        return StandardNormal().log_prob(noise) + log_determinant

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """As many latents as these (b, ...), with gradients to the network."""
        return self.bend(standard_noise(like, generator))
