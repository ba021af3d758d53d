"""Priors that are learned with the rest: modules that give p(z), and the records that build them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.distributions import Always, DiagonalGaussian, GaussianMixture, Posterior, StandardNormal, Transformed
from vaekit.distributions.posteriors import LOG_VARIANCE_RANGE
from vaekit.nets.part_protocols import NetPart, PosteriorPart, data_shape, latent_shape


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
    """Their values stay between -bound and bound, as those of the data do: 1 for images."""
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


@dataclass(frozen=True)
class StandardPart:
    """N(0, 1), for a posterior that has no prior of its own: a point, as in a Wasserstein autoencoder."""

    kind: str = field(default="standard", init=False)

    def head(self, net: NetPart, posterior: PosteriorPart) -> Always:
        return Always(StandardNormal())


@dataclass(frozen=True)
class MixturePart:
    """A mixture of Gaussians whose means, variances and weights are learned."""

    components: int = 10
    """K."""
    spread: float = 1.0
    """Standard deviation of the means at the start."""
    kind: str = field(default="mixture", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.spread <= 0:
            raise ValueError("a mixture has components and a spread over 0")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Mixture":
        of_numbers(self.kind, posterior)
        return Mixture(self, latent_shape(net))


class Mixture(nn.Module):
    """Its numbers: equal weights and variances of 1 at the start."""

    def __init__(self, config: MixturePart, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = nn.Parameter(config.spread * torch.randn(config.components, *shape))
        self.log_variance = nn.Parameter(torch.zeros(config.components, *shape))
        self.logits = nn.Parameter(torch.zeros(config.components))

    def forward(self, _: Callable[[Tensor], Posterior]) -> GaussianMixture:
        log_variance = self.log_variance.clamp(*LOG_VARIANCE_RANGE)
        return GaussianMixture(self.mean, log_variance, self.logits.log_softmax(dim=0))


@dataclass(frozen=True)
class FlowPart:
    """Noise bent by affine couplings (RealNVP: Dinh et al. 2017, arXiv 1605.08803), over the latent as one vector."""

    layers: int = 6
    hidden: int = 128
    """Width of the two hidden layers of each coupling."""
    kind: str = field(default="flow", init=False)

    def __post_init__(self) -> None:
        if self.layers < 1 or self.hidden < 1:
            raise ValueError("a flow has layers and a hidden width over 0")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Flow":
        of_numbers(self.kind, posterior)
        dimensions = math.prod(latent_shape(net))
        if dimensions < 2:
            raise ValueError("a flow needs a latent of two numbers or more")
        return Flow(self, dimensions)


class Flow(nn.Module):
    """The couplings, one after the other, with the order of the numbers turned round in between."""

    def __init__(self, config: FlowPart, dimensions: int) -> None:
        super().__init__()
        first, second = dimensions // 2, dimensions - dimensions // 2
        self.couplings = nn.ModuleList(Coupling(first, second, config.hidden) for _ in range(config.layers))

    def forward(self, _: Callable[[Tensor], Posterior]) -> Transformed:
        return Transformed(self.straighten, self.bend)

    def straighten(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (b, ...) -> noise, and the logarithm of the determinant (b,)."""
        h, total = z.flatten(1), z.new_zeros(len(z))
        for coupling in self.couplings:
            h, log_scale = coupling(h)
            h, total = h.flip(1), total - log_scale.sum(dim=1)
        return h.view_as(z), total

    def bend(self, noise: Tensor) -> Tensor:
        """The inverse."""
        h = noise.flatten(1)
        backwards: Any = reversed(self.couplings)
        for coupling in backwards:
            h = coupling.inverse(h.flip(1))
        return h.view_as(noise)


class Coupling(nn.Module):
    """The second part of a vector is shifted and scaled by what a network says of the first; nothing at the start."""

    def __init__(self, first: int, second: int, hidden: int) -> None:
        super().__init__()
        self.first = first
        self.network = nn.Sequential(
            nn.Linear(first, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * second)
        )
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Towards noise; with the logarithm of what the second part was divided by."""
        kept, changed = z[:, : self.first], z[:, self.first :]
        shift, log_scale = self.said(kept)
        return torch.cat([kept, (changed - shift) * torch.exp(-log_scale)], dim=1), log_scale

    def inverse(self, noise: Tensor) -> Tensor:
        """From noise."""
        kept, changed = noise[:, : self.first], noise[:, self.first :]
        shift, log_scale = self.said(kept)
        return torch.cat([kept, changed * torch.exp(log_scale) + shift], dim=1)

    def said(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and logarithm of the scale; a scale stays between exp(-2) and exp(2), so that no layer explodes. Exact
        under autocast too, as what it says is part of a density."""
        with torch.autocast(kept.device.type, enabled=False):
            shift, log_scale = self.network(kept).chunk(2, dim=1)
        return shift, 2 * torch.tanh(log_scale / 2)


def of_numbers(kind: str, posterior: PosteriorPart) -> None:
    """Refuse a posterior that is over anything but numbers with a density.

    Raises:
        ValueError: it is.
    """
    if not isinstance(posterior.prior(), StandardNormal):
        raise ValueError(f"a {kind} prior goes with a gaussian posterior, not with {posterior.kind}")
