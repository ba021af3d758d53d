"""The likelihood head of table rows: one config for columns of all kinds."""

import math
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn

from vaekit.distributions import (
    Columns,
    Factorized,
    Group,
    LogisticCounts,
    LogisticSteps,
    Normal,
    OneHot,
    StudentT,
    TwoValued,
)
from vaekit.nets.likelihoods import LOG_SCALE_RANGE
from vaekit.nets.part_protocols import NetPart, data_shape

SCALED = ("normal", "student", "steps", "counts")
"""Kinds of columns with a location and a scale."""
COLUMNS = (*SCALED, "bernoulli", "categorical")
"""All kinds, in the order of their values in rows."""
MOST_COLUMNS = 2**14
"""The maximum number of columns of a kind."""
VARIANCES = {"fixed": 1, "channel": 1, "each": 2}
"""The number of decoder outputs per value, for each kind of scale: `scale` itself, one learned scale for each column,
or a scale from the decoder."""
DEGREES = 5.0
"""Initial degrees of freedom of a Student-t distribution."""
LEAST_DEGREES = 1.0
"""Of freedom: those of a Cauchy distribution."""


@dataclass(frozen=True)
class ColumnsPart:
    """A row of a table: groups of columns, each of one kind.

    "normal" and "student" (Student-t) columns are real numbers, "steps" are numbers on a grid, "counts" are logarithms
    of counts, "bernoulli" columns are 0 and 1, "categorical" ones are one-hot vectors.
    """

    columns: tuple[str, ...]
    """The kind of each column, or of several consecutive ones: "normal", "bernoulli:5"."""
    half_steps: tuple[float, ...] = ()
    """Half the distance of two values, for each column of steps."""
    centers: tuple[float, ...] = ()
    """For each column of counts c; its values are (log(1 + c) - center) / spread."""
    spreads: tuple[float, ...] = ()
    choices: tuple[int, ...] = ()
    """The number of categories of each categorical column."""
    unseen: float = 0.0
    """The probability of values outside those of a bernoulli or categorical column."""
    scale: float = 1.0
    """The initial scale of columns that have one: 1 for standardized columns."""
    variance: str = "channel"
    """Their scales: "fixed", "channel" (one per column) or "each" (from the decoder)."""
    floor: float = 0.0
    """The minimum scale, without which a column that the decoder predicts exactly is worth any number of nats."""
    kind: str = field(default="columns", init=False)

    def __post_init__(self) -> None:
        if self.variance not in VARIANCES or self.scale <= self.floor or self.floor < 0:
            raise ValueError("variance must be fixed, channel or each, and scale above floor, which is at least 0")
        counts = self.counts()
        constants = {"steps": self.half_steps, "counts": self.centers, "categorical": self.choices}
        wrong = [kind for kind, values in constants.items() if len(values) != counts[kind]]
        if wrong or len(self.spreads) != len(self.centers):
            raise ValueError("half_steps, centers, spreads or choices have another length than there are columns")
        if min((*self.half_steps, *self.spreads, *self.choices, 1)) <= 0 or not 0 <= self.unseen < 1:
            raise ValueError("half_steps, spreads and choices must be positive, and unseen a probability")

    @property
    def outputs(self) -> int:
        return VARIANCES[self.variance]

    def entries(self) -> list[tuple[str, int]]:
        """The kind and number of consecutive columns, in the order of the values of rows.

        Raises:
            ValueError: an entry is invalid.
        """
        entries: list[tuple[str, int]] = []
        for entry in self.columns:
            kind, _, count = entry.partition(":")
            if kind not in COLUMNS or not (count or "1").isdecimal() or not 0 < int(count or 1) <= MOST_COLUMNS:
                raise ValueError(f"a column is one of {', '.join(COLUMNS)}, or several, such as normal:5")
            entries.append((kind, int(count or 1)))
        if not entries:
            raise ValueError("columns is empty")
        return entries

    def counts(self) -> dict[str, int]:
        """The number of columns of each kind."""
        entries = self.entries()
        return {kind: sum(count for each, count in entries if each == kind) for kind in COLUMNS}

    def head(self, net: NetPart) -> "ColumnsHead":
        values = sum(self.counts().values()) - len(self.choices) + sum(self.choices)
        if data_shape(net) != (values,):
            raise ValueError(
                f"the net takes items of shape {list(data_shape(net))}, but there are columns with {values} values"
            )
        return ColumnsHead(self)


@dataclass(frozen=True)
class Run:
    """Consecutive columns of one kind and width."""

    kind: str
    columns: int
    width: int
    """Values of a column."""
    start: int
    """Of its values in rows."""
    first: int
    """Its first column among those of its kind."""

    @property
    def values(self) -> slice:
        """Its values in rows."""
        return slice(self.start, self.start + self.columns * self.width)

    @property
    def parameters(self) -> slice:
        """Its columns among those of its kind."""
        return slice(self.first, self.first + self.columns)


def runs_of(config: ColumnsPart) -> list[Run]:
    """The columns of rows as runs of one kind and width."""
    runs: list[Run] = []
    seen = dict.fromkeys(COLUMNS, 0)
    start = 0
    for kind, count in config.entries():
        first = seen[kind]
        widths = config.choices[first : first + count] if kind == "categorical" else (1,) * count
        for width, equal in groupby(widths):
            columns = len(list(equal))
            runs.append(Run(kind, columns, width, start, seen[kind]))
            start += columns * width
            seen[kind] += columns
    return runs


class ColumnsHead(nn.Module):
    """Parameters (b, k n) -> the likelihood of rows (b, n)."""

    def __init__(self, config: ColumnsPart) -> None:
        super().__init__()
        self.config, self.runs = config, runs_of(config)
        counts = config.counts()
        for kind in SCALED:
            if counts[kind]:
                self.add_module(kind, ColumnScale(config, counts[kind]))
        if counts["student"]:
            self.log_degrees = nn.Parameter(torch.full((counts["student"],), math.log(DEGREES - LEAST_DEGREES)))

    def forward(self, parameters: Tensor) -> Columns:
        exact = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
        outputs = exact.unflatten(1, (self.config.outputs, -1))
        return Columns(
            tuple(Group(self._likelihood(run, outputs[:, :, run.values]), run.columns, run.width) for run in self.runs)
        )

    def _likelihood(self, run: Run, outputs: Tensor) -> Factorized:
        """The likelihood of a run of columns, from outputs (b, k, values)."""
        location, own = outputs[:, 0], run.parameters
        if run.kind == "bernoulli":
            return TwoValued(location, self.config.unseen)
        if run.kind == "categorical":
            return OneHot(location, run.width, self.config.unseen)
        scale = self.get_submodule(run.kind)(outputs, own)
        if run.kind == "normal":
            return Normal(location, scale)
        if run.kind == "student":
            return StudentT(location, scale, LEAST_DEGREES + self.log_degrees[own].exp())
        if run.kind == "steps":
            return LogisticSteps(location, scale, location.new_tensor(self.config.half_steps[own]))
        constants = (location.new_tensor(values[own]) for values in (self.config.centers, self.config.spreads))
        return LogisticCounts(location, scale, *constants)


class ColumnScale(nn.Module):
    """The scales of columns, from the decoder's outputs (b, k, n) or learned.

    Args:
        config: of all columns.
        columns: the number of these.
    """

    def __init__(self, config: ColumnsPart, columns: int) -> None:
        super().__init__()
        self.floor, self.start, self.variance = config.floor, math.log(config.scale - config.floor), config.variance
        if self.variance == "channel":
            self.log_scale = nn.Parameter(torch.full((columns,), self.start))

    def forward(self, outputs: Tensor, own: slice) -> Tensor:
        """The scales of consecutive columns, broadcastable to (b, columns), from outputs (b, k, columns)."""
        if self.variance == "each":
            log_scale = outputs[:, 1] + self.start
        elif self.variance == "channel":
            log_scale = self.log_scale[own]
        else:
            log_scale = outputs.new_full((1,), self.start)
        return self.floor + log_scale.clamp(*LOG_SCALE_RANGE).exp()
