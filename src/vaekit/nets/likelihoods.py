"""Likelihood heads: configs that build them, and learned scales."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vaekit.distributions import (
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    Likelihood,
    Normal,
    SignedBernoulli,
)
from vaekit.nets.part_protocols import NetPart, data_shape

LOG_SCALE_RANGE = (-7.0, 7.0)
"""The range of learned log-scales: without a minimum, a constant value would be worth any number of nats (arXiv
1701.05517)."""
VARIANCES: dict[str, int] = {"fixed": 1, "global": 1, "channel": 1, "each": 2}
"""The number of decoder outputs per data value for each kind of scale: `scale` itself; one learned scale; a learned
scale for each channel of images or column of rows; a scale for each value from the decoder. All start at `scale`."""


@dataclass(frozen=True)
class BernoulliPart:
    """Data in {-1, 1}, or gray values in [-1, 1], given logits."""

    kind: str = field(default="bernoulli", init=False)
    outputs: ClassVar[int] = 1

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return SignedBernoulli


@dataclass(frozen=True)
class ScaledPart:
    """The base of likelihoods with a location and a scale."""

    scale: float = 1.0
    variance: str = "fixed"
    """"fixed", "global", "channel" or "each"."""
    family: ClassVar[Callable[..., Any]]

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES or self.scale <= 0:
            raise ValueError(f"variance must be one of {', '.join(VARIANCES)}, and scale positive")

    @property
    def outputs(self) -> int:
        return VARIANCES[self.variance]

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        family = type(self).family
        if self.variance == "fixed":
            return partial(family, scale=self.scale)
        if self.variance == "each":
            return EachScaled(family, self.scale)
        per_channel = channel_shape(net)
        return Scaled(family, self.scale, per_channel if self.variance == "channel" else ())


def channel_shape(net: NetPart) -> tuple[int, ...]:
    """The shape of one value per channel, broadcastable to items of any size.

    Raises:
        ValueError: the net takes tokens.
    """
    axes = net.geometry.axes
    return (net.geometry.channels, *[1] * axes) if axes else data_shape(net)


@dataclass(frozen=True)
class LaplacePart(ScaledPart):
    """A Laplace distribution: L1 in units of a scale."""

    kind: str = field(default="laplace", init=False)
    family: ClassVar[Callable[..., Any]] = Laplace


@dataclass(frozen=True)
class NormalPart(ScaledPart):
    """A normal distribution: squared error in units of a scale."""

    kind: str = field(default="normal", init=False)
    family: ClassVar[Callable[..., Any]] = Normal


@dataclass(frozen=True)
class LogisticPart(ScaledPart):
    """A discretized logistic distribution over 256 levels in [-1, 1], for 8-bit images."""

    scale: float = 0.1
    variance: str = "global"
    kind: str = field(default="logistic", init=False)
    family: ClassVar[Callable[..., Any]] = DiscretizedLogistic


@dataclass(frozen=True)
class LogisticMixturePart:
    """A mixture of discretized logistic distributions for each value."""

    components: int = 5
    scale: float = 0.1
    """The initial scale of each component."""
    kind: str = field(default="logistic-mixture", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.scale <= 0:
            raise ValueError("components must be at least 1, and scale positive")

    @property
    def outputs(self) -> int:
        return 3 * self.components

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return partial(DiscretizedLogisticMixture.from_parameters, components=self.components, scale=self.scale)


@runtime_checkable
class TokenNet(Protocol):
    """A net whose decoder outputs contexts for the generation of tokens."""

    def token_head(self, word_dropout: float, dropout: float, bag: bool) -> Callable[[Tensor], Likelihood]:
        """The likelihood head; see `TokensPart`."""


@dataclass(frozen=True)
class TokensPart:
    """An autoregressive distribution of tokens, given the latent; for nets of tokens."""

    word_dropout: float = 0.3
    """The probability of hiding a previous token in training (arXiv 1511.06349, section 3.1)."""
    dropout: float = 0.0
    """The probability of hiding an element of the inputs and outputs of the decoder in training."""
    bag: bool = False
    """Whether the context also predicts the tokens in any order, for the term `bag_of_tokens`."""
    kind: str = field(default="tokens", init=False)
    outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not (0 <= self.word_dropout <= 1 and 0 <= self.dropout < 1):
            raise ValueError("word_dropout must be between 0 and 1, and dropout below 1")

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        if not isinstance(net, TokenNet):
            raise ValueError(f'a likelihood of tokens requires the net "tokens", not "{net.kind}"')
        return net.token_head(self.word_dropout, self.dropout, self.bag)


class Scaled(nn.Module):
    """Locations (b, c, ...) -> likelihood, with a learned scale.

    Args:
        family: location and scale -> likelihood.
        start: the initial scale.
        shape: of the scale.
    """

    def __init__(self, family: Callable[..., Likelihood], start: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.family = family
        self.log_scale = nn.Parameter(torch.full(shape, math.log(start)))

    def forward(self, location: Tensor) -> Likelihood:
        return self.family(location, self.log_scale.clamp(*LOG_SCALE_RANGE).exp())


class EachScaled(nn.Module):
    """Locations and log-scales relative to the initial scale, (b, 2 c, ...) -> likelihood.

    Args:
        family: location and scale -> likelihood.
        start: the initial scale.
    """

    def __init__(self, family: Callable[..., Likelihood], start: float) -> None:
        super().__init__()
        self.family, self.start = family, math.log(start)

    def forward(self, parameters: Tensor) -> Likelihood:
        location, log_scale = parameters.to(torch.promote_types(parameters.dtype, torch.float32)).chunk(2, dim=1)
        return self.family(location, (log_scale + self.start).clamp(*LOG_SCALE_RANGE).exp())
