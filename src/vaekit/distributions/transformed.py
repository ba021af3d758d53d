"""Noise transformed by an invertible network, for learned priors."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from vaekit.distributions.base import standard_noise
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import PerItem


@dataclass(frozen=True, repr=False)
class Transformed:
    """p(z) of z = from_noise(noise), noise ~ N(0, 1), by the change of variables (Dinh et al. 2017, arXiv 1605.08803,
    eq. 3):

    log p(z) = log N(to_noise(z)) + log |det d to_noise(z) / dz|
    """

    to_noise: Callable[[Tensor], tuple[Tensor, PerItem]]
    """Latents (b, ...) -> noise (b, ...) and the log-determinant of the Jacobian (b,), in nats."""
    from_noise: Callable[[Tensor], Tensor]
    """The inverse of `to_noise`."""

    def __repr__(self) -> str:
        return "Transformed(StandardNormal())"

    def log_prob(self, z: Tensor) -> PerItem:
        noise, log_determinant = self.to_noise(z)
        return StandardNormal().log_prob(noise) + log_determinant

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...) of `like`, with gradients for the network."""
        return self.from_noise(standard_noise(like, generator))
