"""Learned priors: modules that output p(z), and configs that build them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from vaekit.distributions import Always, DiagonalGaussian, GaussianMixture, Posterior, StandardNormal, Transformed
from vaekit.distributions.posteriors import LOG_VARIANCE_RANGE
from vaekit.nets.part_protocols import NetPart, PosteriorPart, data_shape, latent_shape

MOST_LAYERS = 1000
"""Of a flow."""


@dataclass(frozen=True)
class VampPart:
    """A mixture of the posteriors of learned items (VampPrior: Tomczak & Welling 2018, arXiv 1705.07120, eq. 9)."""

    components: int = 500
    """The number K of learned items (pseudo-inputs)."""
    mean: float = 0.0
    """The initial mean of their values, in (-bound, bound)."""
    spread: float = 0.1
    """The initial standard deviation of their values, as a share of the bound."""
    bound: float = 1.0
    """Their values stay in (-bound, bound), the range of the data: 1 for images."""
    kind: str = field(default="vamp", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.bound <= 0 or abs(self.mean) >= self.bound or self.spread <= 0:
            raise ValueError("a vamp prior needs components, bound and spread above 0, and a mean within the bound")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Vamp":
        require_gaussian(self.kind, posterior)
        return Vamp(self, data_shape(net))


class Vamp(nn.Module):
    """The mixture of the posteriors of learned items.

    Args:
        config: the settings.
        shape: of an item.
    """

    def __init__(self, config: VampPart, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.bound = config.bound
        start = math.atanh(config.mean / config.bound)
        self.raw_items = nn.Parameter(start + config.spread * torch.randn(config.components, *shape))

    @property
    def items(self) -> Tensor:
        """The learned items, (K, ...), within the bound."""
        return self.bound * torch.tanh(self.raw_items)

    @torch.no_grad()
    def start_from(self, items: Tensor) -> None:
        """Initialize with items (K, ...), clamped to 0.9 times the bound, where gradients do not vanish."""
        scaled = (items / self.bound).clamp(-0.9, 0.9)
        self.raw_items.copy_(torch.atanh(scaled))

    def forward(self, encode: Callable[[Tensor], Posterior]) -> GaussianMixture:
        posterior = encode(self.items)
        if not isinstance(posterior, DiagonalGaussian):
            raise TypeError(f"a vamp prior requires Gaussian posteriors, not {type(posterior).__name__}")
        return GaussianMixture.even(posterior.mean, posterior.log_variance)


@dataclass(frozen=True)
class StandardPart:
    """N(0, 1), for a posterior without a default prior: a point, as in a Wasserstein autoencoder."""

    kind: str = field(default="standard", init=False)

    def head(self, net: NetPart, posterior: PosteriorPart) -> Always:
        return Always(StandardNormal())


@dataclass(frozen=True)
class MixturePart:
    """A mixture of Gaussians with learned means, variances and weights."""

    components: int = 10
    """The number K of components."""
    spread: float = 1.0
    """The initial standard deviation of the means."""
    kind: str = field(default="mixture", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.spread <= 0:
            raise ValueError("a mixture needs components and spread above 0")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Mixture":
        require_gaussian(self.kind, posterior)
        return Mixture(self, latent_shape(net))


class Mixture(nn.Module):
    """The parameters of the mixture. Weights are initially equal, and variances 1."""

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
    """A normalizing flow of affine couplings over the flattened latent (RealNVP: Dinh et al. 2017, arXiv
    1605.08803)."""

    layers: int = 6
    hidden: int = 128
    """The width of the two hidden layers of each coupling."""
    kind: str = field(default="flow", init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MOST_LAYERS or self.hidden < 1:
            raise ValueError(f"a flow needs 1 to {MOST_LAYERS:,} layers, and hidden above 0")

    def head(self, net: NetPart, posterior: PosteriorPart) -> "Flow":
        require_gaussian(self.kind, posterior)
        dimensions = math.prod(latent_shape(net))
        if dimensions < 2:
            raise ValueError("a flow needs a latent of at least two values")
        return Flow(self, dimensions)


class Flow(nn.Module):
    """A sequence of couplings, with the order of values reversed in between."""

    def __init__(self, config: FlowPart, dimensions: int) -> None:
        super().__init__()
        first, second = dimensions // 2, dimensions - dimensions // 2
        self.couplings = nn.ModuleList(Coupling(first, second, config.hidden) for _ in range(config.layers))

    @property
    def layers(self) -> list["Coupling"]:
        """The couplings in order. After each, the order of values is reversed."""
        return [cast(Coupling, coupling) for coupling in self.couplings]

    def forward(self, _: Callable[[Tensor], Posterior]) -> Transformed:
        return Transformed(self.to_noise, self.from_noise)

    def to_noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (b, ...) -> noise (b, ...), and the log-determinant of the Jacobian (b,)."""
        h, total = z.flatten(1), z.new_zeros(len(z))
        for coupling in self.layers:
            h, log_scale = coupling(h)
            h, total = h.flip(1), total - log_scale.sum(dim=1)
        return h.view_as(z), total

    def from_noise(self, noise: Tensor) -> Tensor:
        """The inverse: noise (b, ...) -> latents (b, ...)."""
        h = noise.flatten(1)
        for coupling in reversed(self.layers):
            h = coupling.inverse(h.flip(1))
        return h.view_as(noise)


class Coupling(nn.Module):
    """Shifts and scales the second part of a vector by a function of the first; the identity at initialization.

    Args:
        first, second: the sizes of the two parts.
        hidden: the width of the network.
    """

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
        """Latents -> noise, and the logarithm of the scale that the second part is divided by, (b, second)."""
        kept, changed = z[:, : self.first], z[:, self.first :]
        shift, log_scale = self.shift_and_log_scale(kept)
        return torch.cat([kept, (changed - shift) * torch.exp(-log_scale)], dim=1), log_scale

    def inverse(self, noise: Tensor) -> Tensor:
        """Noise -> latents."""
        kept, changed = noise[:, : self.first], noise[:, self.first :]
        shift, log_scale = self.shift_and_log_scale(kept)
        return torch.cat([kept, changed * torch.exp(log_scale) + shift], dim=1)

    def shift_and_log_scale(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log-scale as functions of the first part, each (b, second). Scales are between exp(-2) and exp(2),
        for stability. In full precision under autocast, since they are part of a density."""
        with torch.autocast(kept.device.type, enabled=False):
            shift, log_scale = self.network(kept).chunk(2, dim=1)
        return shift, 2 * torch.tanh(log_scale / 2)


def require_gaussian(kind: str, posterior: PosteriorPart) -> None:
    """Reject a posterior without a density over real numbers.

    Raises:
        ValueError: the posterior is not Gaussian.
    """
    if not isinstance(posterior.prior(), StandardNormal):
        raise ValueError(f"a {kind} prior requires a gaussian posterior, not {posterior.kind}")
