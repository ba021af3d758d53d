"""Priors that are learned with the rest: modules that give p(z), and the records that build them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vaekit.distributions import DiagonalGaussian, GaussianMixture, Posterior, StandardNormal
from vaekit.nets.slots import NetPart, PosteriorPart, data_shape


@dataclass(frozen=True)
class VampPart:
    """A mixture of the posteriors of learned items (VampPrior: Tomczak & Welling 2018, arXiv 1705.07120, eq. 9)."""

    components: int = 500
    """How many such items: K."""
    mean: float = 0.0
    """Of their values at the start, between -bound and bound."""
    spread: float = 0.1
    """Of their values around it at the start, in parts of the bound."""
    bound: float = 1.0
    """Their values stay between -bound and bound, as those of the data do: 1 for pictures."""
    kind: str = field(default="vamp", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.bound <= 0 or abs(self.mean) >= self.bound or self.spread <= 0:
            raise ValueError("a vamp prior has components, a bound and a spread over 0, a mean inside the bound")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Vamp":
        of_numbers(self.kind, posterior)
        return Vamp(self, data_shape(net))


class Vamp(nn.Module):
    """The items, and what the VAE says of them."""

    def __init__(self, config: VampPart, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.bound = config.bound
        start = math.atanh(config.mean / config.bound)
        self.raw_items = nn.Parameter(start + config.spread * torch.randn(config.components, *shape))

    @property
    def items(self) -> Tensor:
        """(K, ...), within the bound."""
        return self.bound * torch.tanh(self.raw_items)

    @torch.no_grad()
    def start_from(self, items: Tensor) -> None:
        """Begin with these items (K, ...), drawn a little inside the bound: at the bound itself nothing is learned."""
        inside = (items / self.bound).clamp(-0.9, 0.9)
        self.raw_items.copy_(torch.atanh(inside))

    def forward(self, encode: Callable[[Tensor], Posterior]) -> GaussianMixture:
        posterior = encode(self.items)
        if not isinstance(posterior, DiagonalGaussian):
            raise TypeError(f"a vamp prior is a mixture of Gaussians, not of {type(posterior).__name__}")
        return GaussianMixture.even(posterior.mean, posterior.log_variance)


def of_numbers(kind: str, posterior: PosteriorPart) -> None:
    """Refuse a posterior that is over anything but numbers with a density.

    Raises:
        ValueError: it is.
    """
    if not isinstance(posterior.prior(), StandardNormal):
        raise ValueError(f"a {kind} prior goes with a gaussian posterior, not with {posterior.kind}")
