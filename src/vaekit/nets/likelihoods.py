"""How parameters that a decoder gives are read as a likelihood: records that build the heads, and learned scales."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaekit.distributions import (
    Bernoulli,
    Columns,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Laplace,
    Likelihood,
    Normal,
    SignedBernoulli,
)
from vaekit.nets.part_protocols import NetPart, data_shape
from vaekit.nets.sequence import NextToken, SequenceConfig

LOG_SCALE_RANGE = (-7.0, 7.0)
"""Of learned scales: below, a value that never varies would be worth any number of nats (arXiv 1701.05517)."""
COLUMNS = ("normal", "bernoulli")
MOST_COLUMNS = 2**14
"""That one word may stand for."""
VARIANCES: dict[str, int] = {"fixed": 1, "global": 1, "channel": 1, "each": 2}
"""Whose scale it is, and how many numbers the decoder says of each value: `scale` for ever; one that is learned; one
for each channel of images or column of rows that is learned; one for each value, from the decoder. Those that are
learned begin at `scale`."""


@dataclass(frozen=True)
class BernoulliPart:
    """Data in {-1, 1}, or shades in [-1, 1], given logits."""

    kind: str = field(default="bernoulli", init=False)
    outputs: ClassVar[int] = 1

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return SignedBernoulli


@dataclass(frozen=True)
class ScaledPart:
    """What likelihoods with a location and a scale have in common."""

    scale: float = 1.0
    variance: str = "fixed"
    """"fixed", "global", "channel" or "each"."""
    family: ClassVar[Callable[..., Any]]

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES or self.scale <= 0:
            raise ValueError(f"variance is one of {', '.join(VARIANCES)}, and scale is over 0")

    @property
    def outputs(self) -> int:
        return VARIANCES[self.variance]

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        family = type(self).family
        if self.variance == "fixed":
            return partial(family, scale=self.scale)
        if self.variance == "each":
            return EachScaled(family, self.scale)
        of_channel = of_channels(net)
        return Scaled(family, self.scale, of_channel if self.variance == "channel" else ())


def of_channels(net: NetPart) -> tuple[int, ...]:
    """The shape of one value for each channel of an item, which goes with any size of it.

    Raises:
        ValueError: the net takes tokens.
    """
    axes = net.geometry.axes
    return (net.geometry.channels, *[1] * axes) if axes else data_shape(net)


@dataclass(frozen=True)
class LaplacePart(ScaledPart):
    """L1 in units of a scale."""

    kind: str = field(default="laplace", init=False)
    family: ClassVar[Callable[..., Any]] = Laplace


@dataclass(frozen=True)
class NormalPart(ScaledPart):
    """Squared error in units of a scale."""

    kind: str = field(default="normal", init=False)
    family: ClassVar[Callable[..., Any]] = Normal


@dataclass(frozen=True)
class LogisticPart(ScaledPart):
    """256 levels in [-1, 1], as images of 8 bits have them."""

    scale: float = 0.1
    variance: str = "global"
    kind: str = field(default="logistic", init=False)
    family: ClassVar[Callable[..., Any]] = DiscretizedLogistic


@dataclass(frozen=True)
class LogisticMixturePart:
    """The same, with a mixture for each value that the decoder says."""

    components: int = 5
    scale: float = 0.1
    """Of each component at the start."""
    kind: str = field(default="logistic-mixture", init=False)

    def __post_init__(self) -> None:
        if self.components < 1 or self.scale <= 0:
            raise ValueError("components is 1 or more, and scale is over 0")

    @property
    def outputs(self) -> int:
        return 3 * self.components

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        return partial(DiscretizedLogisticMixture.from_parameters, components=self.components, scale=self.scale)


@dataclass(frozen=True)
class ColumnsPart:
    """A row of a table: "normal" columns of any numbers, their variance learned, and "bernoulli" columns of 0 and 1."""

    columns: tuple[str, ...]
    """A word for each column, or for several that follow each other: "normal", "bernoulli:5"."""
    scale: float = 1.0
    """Standard deviation of normal columns at the start: 1 suits columns that are standardized."""
    variance: str = "channel"
    """Of normal columns: "fixed", "channel" (one for each) or "each" (from the decoder)."""
    kind: str = field(default="columns", init=False)

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES or self.variance == "global" or self.scale <= 0:
            raise ValueError("variance is fixed, channel or each, and scale is over 0")
        self.kinds()

    @property
    def outputs(self) -> int:
        return VARIANCES[self.variance]

    def kinds(self) -> tuple[str, ...]:
        """One word for each column."""
        found: list[str] = []
        for words in self.columns:
            kind, _, count = words.partition(":")
            if kind not in COLUMNS or not (count or "1").isdecimal() or not 0 < int(count or 1) <= MOST_COLUMNS:
                raise ValueError(f"a column is one of {', '.join(COLUMNS)}, or several such as normal:5")
            found += [kind] * int(count or 1)
        if not found:
            raise ValueError("columns is empty")
        return tuple(found)

    def head(self, net: NetPart) -> "ColumnsHead":
        kinds = self.kinds()
        if data_shape(net) != (len(kinds),):
            raise ValueError(f"the net takes items of shape {list(data_shape(net))}, and columns are {len(kinds)}")
        return ColumnsHead(self, kinds)


class ColumnsHead(nn.Module):
    """Parameters (b, k n) -> the likelihood of rows (b, n)."""

    def __init__(self, config: ColumnsPart, kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.places = {kind: tuple(i for i, each in enumerate(kinds) if each == kind) for kind in COLUMNS}
        self.outputs = config.outputs
        heads: dict[str, Callable[[Tensor], Likelihood]] = {
            "fixed": partial(Normal, scale=config.scale),
            "channel": Scaled(Normal, config.scale, (len(self.places["normal"]),)),
            "each": EachScaled(Normal, config.scale),
        }
        self.normal = heads[config.variance]

    def forward(self, parameters: Tensor) -> Columns:
        said = parameters.unflatten(1, (self.outputs, -1))
        normal, binary = self.places["normal"], self.places["bernoulli"]
        groups: list[tuple[tuple[int, ...], Likelihood]] = []
        if normal:
            groups.append((normal, self.normal(said[:, :, normal].flatten(1))))
        if binary:
            groups.append((binary, Bernoulli(said[:, 0, binary])))
        return Columns(tuple(groups))


@dataclass(frozen=True)
class TokensPart:
    """Tokens one after the other, each given those before it and the latent; goes with a sequence net."""

    word_dropout: float = 0.3
    """Chance that a token is hidden from what says the next, while training (arXiv 1511.06349, section 3.1)."""
    kind: str = field(default="tokens", init=False)
    outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.word_dropout <= 1:
            raise ValueError("word_dropout is a chance, between 0 and 1")

    def head(self, net: NetPart) -> NextToken:
        if not isinstance(net, SequenceConfig):
            raise ValueError(f"a likelihood of tokens goes with a sequence net, not with {net.kind}")
        return NextToken(net, self.word_dropout)


class Scaled(nn.Module):
    """Locations -> likelihood, with a scale that is learned with the rest."""

    def __init__(self, family: Callable[..., Likelihood], start: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.family = family
        self.log_scale = nn.Parameter(torch.full(shape, math.log(start)))

    def forward(self, location: Tensor) -> Likelihood:
        return self.family(location, self.log_scale.clamp(*LOG_SCALE_RANGE).exp())


class EachScaled(nn.Module):
    """Locations and logarithms of scales, in units of that at the start (b, 2 c, ...) -> likelihood."""

    def __init__(self, family: Callable[..., Likelihood], start: float) -> None:
        super().__init__()
        self.family, self.start = family, math.log(start)

    def forward(self, parameters: Tensor) -> Likelihood:
        location, log_scale = parameters.to(torch.promote_types(parameters.dtype, torch.float32)).chunk(2, dim=1)
        return self.family(location, (log_scale + self.start).clamp(*LOG_SCALE_RANGE).exp())
