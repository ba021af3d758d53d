"""A VAE described part by part: nets, posterior, likelihood and prior, each chosen on its own.

The published families have one config for their nets, which determines their heads. VAEs trained with vaekit combine
any nets with any heads, for any domain. Each part is a small frozen record that builds itself; its `kind` is its name
in recipes and files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from vaekit.distributions import (
    Always,
    DiagonalGaussian,
    Point,
    Posterior,
    Prior,
    StandardNormal,
    ToPrior,
)
from vaekit.families.parts.code_parts import CosineVQPart, FSQPart, GumbelPart, LFQPart, ResidualVQPart, VQPart
from vaekit.families.parts.kl_net import KLNet
from vaekit.geometry import Geometry
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.first_sequence import FirstSequenceConfig
from vaekit.nets.likelihoods import (
    BernoulliPart,
    LaplacePart,
    LogisticMixturePart,
    LogisticPart,
    NormalPart,
    TokensPart,
)
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.part_protocols import LikelihoodPart, NetPart, PosteriorPart, PriorPart
from vaekit.nets.priors import FlowPart, MixturePart, StandardPart, VampPart
from vaekit.nets.residual import ResidualConfig
from vaekit.nets.rows import RowsConfig
from vaekit.nets.sequence import SequenceConfig
from vaekit.nets.subscale import SubscalePart
from vaekit.nets.waveform import WaveformConfig


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
class CustomaryPart:
    """The default prior of the posterior: N(0, 1) for a Gaussian, uniform over codes for a quantizer."""

    kind: str = field(default="customary", init=False)

    def head(self, net: NetPart, posterior: PosteriorPart) -> ToPrior | None:
        prior = posterior.prior()
        return None if prior is None else Always(prior)


NETS: dict[str, type[Any]] = {
    "mlp": MLPConfig,
    "rows": RowsConfig,
    "residual": ResidualConfig,
    "kl": KLNet,
    "sequence": FirstSequenceConfig,
    "tokens": SequenceConfig,
    "waveform": WaveformConfig,
}
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
    "logistic": LogisticPart,
    "logistic-mixture": LogisticMixturePart,
    "subscale": SubscalePart,
    "columns": ColumnsPart,
    "tokens": TokensPart,
}
PRIORS: dict[str, type[Any]] = {
    "customary": CustomaryPart,
    "standard": StandardPart,
    "vamp": VampPart,
    "mixture": MixturePart,
    "flow": FlowPart,
}


@dataclass(frozen=True)
class PartsConfig:
    """The config of a VAE: its four parts."""

    net: NetPart
    posterior: PosteriorPart
    likelihood: LikelihoodPart
    prior: PriorPart = CustomaryPart()

    def __post_init__(self) -> None:
        _ = self.geometry  # raises ValueError if it is invalid
        wanted = self.posterior.channels
        if wanted is not None and wanted != self.net.latent_channels:
            raise ValueError(
                f"the posterior {self.posterior.kind} needs latent_channels = {wanted}, but the network has "
                f"{self.net.latent_channels}"
            )

    @property
    def geometry(self) -> Geometry:
        """The geometry of the net."""
        return self.net.geometry

    @property
    def blocks(self) -> int:
        return self.net.blocks


def build(config: PartsConfig) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return config.net.build(config.posterior.moments, config.likelihood.outputs)
