"""A VAE described part by part: nets, posterior, likelihood and prior, each chosen on its own.

The published families say in one config what their nets are, and their heads follow. What vaekit trains itself puts any
nets together with any heads, for data of any kind. Each part is a small frozen record that builds itself; its `kind`
is the word that recipes and files call it by.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from vaekit.distributions import (
    Always,
    DiagonalGaussian,
    Laplace,
    Likelihood,
    Normal,
    Point,
    Posterior,
    Prior,
    SignedBernoulli,
    StandardNormal,
    ToPrior,
)
from vaekit.nets.code_parts import CosineVQPart, FSQPart, GumbelPart, LFQPart, ResidualVQPart, VQPart
from vaekit.nets.kl_net import KLNet
from vaekit.nets.mlp import MLPConfig


@runtime_checkable
class Part(Protocol):
    """What all parts are: frozen dataclasses of numbers, words and tuples of these."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """What recipes and files call it."""


@runtime_checkable
class NetPart(Part, Protocol):
    """A pair of an encoder and a decoder."""

    @property
    def latent_channels(self) -> int:
        """Channels of the raw latents."""

    @property
    def image_channels(self) -> int:
        """Channels of a picture; 0 where the data are none."""

    @property
    def factor(self) -> int:
        """Pixels per latent position along one side."""

    @property
    def picture_size(self) -> int | None:
        """Side of the only pictures that it takes; None where it takes any, or none."""

    @property
    def blocks(self) -> int:
        """Blocks of the larger half; each has several tensors."""

    def build(self, moments: int, outputs: int) -> tuple[nn.Module, nn.Module]:
        """Both halves: an encoder that says so many numbers of a latent, a decoder that says so many of a value."""


@runtime_checkable
class PosteriorPart(Part, Protocol):
    """How moments are read."""

    @property
    def moments(self) -> int:
        """Numbers that the encoder says of each number in the latent."""

    @property
    def channels(self) -> int | None:
        """Channels that the latent must have; None for any."""

    def head(self, net: NetPart) -> Callable[[Tensor], Posterior]:
        """Moments -> posterior."""

    def prior(self) -> Prior | None:
        """The prior that goes with it where nobody names another; None where it has no divergence from any."""


@runtime_checkable
class LikelihoodPart(Part, Protocol):
    """How parameters are read."""

    @property
    def outputs(self) -> int:
        """Numbers that the decoder says of each value of the data."""

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        """Parameters -> likelihood."""


@runtime_checkable
class PriorPart(Part, Protocol):
    """What the latents are like before any data is seen."""

    def head(self, net: NetPart, posterior: PosteriorPart) -> ToPrior | None:
        """`encode` of the VAE -> prior."""


@dataclass(frozen=True)
class GaussianPart:
    """A diagonal Gaussian posterior."""

    kind: str = field(default="gaussian", init=False)
    moments: ClassVar[int] = 2
    channels: ClassVar[None] = None

    def head(self, net: NetPart) -> Callable[[Tensor], Posterior]:
        return DiagonalGaussian.from_moments

    def prior(self) -> Prior:
        return StandardNormal()


@dataclass(frozen=True)
class PointPart:
    """No uncertainty: a plain autoencoder."""

    kind: str = field(default="point", init=False)
    moments: ClassVar[int] = 1
    channels: ClassVar[None] = None

    def head(self, net: NetPart) -> Callable[[Tensor], Posterior]:
        return Point

    def prior(self) -> None:
        return None


@dataclass(frozen=True)
class BernoulliPart:
    """Data in {-1, 1}, or shades in [-1, 1], given logits."""

    kind: str = field(default="bernoulli", init=False)
    outputs: ClassVar[int] = 1

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return SignedBernoulli


@dataclass(frozen=True)
class LaplacePart:
    """L1 in units of a fixed scale."""

    scale: float = 1.0
    kind: str = field(default="laplace", init=False)
    outputs: ClassVar[int] = 1

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return partial(Laplace, scale=self.scale)


@dataclass(frozen=True)
class NormalPart:
    """Squared error in units of a fixed scale."""

    scale: float = 1.0
    kind: str = field(default="normal", init=False)
    outputs: ClassVar[int] = 1

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return partial(Normal, scale=self.scale)


@dataclass(frozen=True)
class CustomaryPart:
    """The prior that goes with the posterior: N(0, 1) for a Gaussian, equally likely codes for a quantiser."""

    kind: str = field(default="customary", init=False)

    def head(self, net: NetPart, posterior: PosteriorPart) -> ToPrior | None:
        prior = posterior.prior()
        return None if prior is None else Always(prior)


NETS: dict[str, type[Any]] = {"mlp": MLPConfig, "kl": KLNet}
POSTERIORS: dict[str, type[Any]] = {
    "gaussian": GaussianPart,
    "point": PointPart,
    "vq": VQPart,
    "cosine-vq": CosineVQPart,
    "residual-vq": ResidualVQPart,
    "fsq": FSQPart,
    "lfq": LFQPart,
    "gumbel": GumbelPart,
}
LIKELIHOODS: dict[str, type[Any]] = {
    "bernoulli": BernoulliPart,
    "laplace": LaplacePart,
    "normal": NormalPart,
}
PRIORS: dict[str, type[Any]] = {"customary": CustomaryPart}


@dataclass(frozen=True)
class PartsConfig:
    """All four parts."""

    net: NetPart
    posterior: PosteriorPart
    likelihood: LikelihoodPart
    prior: PriorPart = CustomaryPart()

    def __post_init__(self) -> None:
        wanted = self.posterior.channels
        if wanted is not None and wanted != self.net.latent_channels:
            raise ValueError(
                f"the posterior {self.posterior.kind} needs latent_channels = {wanted}, and the net has "
                f"{self.net.latent_channels}"
            )

    @property
    def latent_channels(self) -> int:
        return self.net.latent_channels

    @property
    def image_channels(self) -> int:
        """Channels of a picture; 0 where the data are none."""
        return self.net.image_channels

    @property
    def factor(self) -> int:
        return self.net.factor

    @property
    def picture_size(self) -> int | None:
        return self.net.picture_size

    @property
    def least_positions(self) -> int:
        """Rows and columns that a latent must have at least."""
        return getattr(self.net, "least_positions", 1)

    @property
    def blocks(self) -> int:
        return self.net.blocks


def build(config: PartsConfig) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return config.net.build(config.posterior.moments, config.likelihood.outputs)
