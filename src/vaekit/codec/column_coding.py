"""Rows of tables for bits-back coding: which cells are missing, then the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.codec.bits_back import Steps
from vaekit.codec.cells import Cells
from vaekit.codec.types import Integers
from vaekit.codec.vae_coding import LatentCoding
from vaekit.distributions import (
    Columns,
    Likelihood,
    LogisticCounts,
    LogisticSteps,
    Normal,
    OneHot,
    StudentT,
    TwoValued,
)
from vaekit.errors import BadPlan
from vaekit.optional import require

PRESENT = 63 / 64
"""The probability that a cell is not missing, of all columns: likelihoods say nothing about it."""
NUMBER = "<i4"
"""The dtype of a cell in bytes."""
MISSING = -1
"""In the place of the cell of a missing value."""


@dataclass(frozen=True)
class CodedColumn:
    """A column whose values are in cells."""

    start: int
    """Its first value in rows."""
    width: int
    """Its values: the number of categories of a one-hot column, otherwise 1."""
    cells: int
    """The number of its cells. A column with one category has one, and its value is 1."""
    edges: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None
    """Numbers of cells, which may be halves -> values, of a column of numbers; None for categories."""

    def numbers_of(self, values: NDArray[np.float64]) -> Integers:
        """The cells of values (b, width), not missing ones, by the nearest one."""
        if self.cells == 1:
            return np.zeros(len(values), np.int64)
        if self.edges is None:
            return values.argmax(axis=1) if self.width > 1 else (values[:, 0] > 0.5).astype(np.int64)
        low, high = np.zeros(len(values), np.int64), np.full(len(values), self.cells - 1)
        while (open_ := low < high).any():
            middle = (low + high + 1) // 2
            above = values[:, 0] >= self.edges(middle - 0.5)
            low, high = np.where(open_ & above, middle, low), np.where(open_ & ~above, middle - 1, high)
        return low

    def values_of(self, cells: Integers) -> NDArray[np.float64]:
        """The inverse, (b, width)."""
        if self.edges is not None:
            return self.edges(cells.astype(np.float64))[:, None]
        one_hot = self.width > 1 or self.cells == 1
        return np.eye(self.width)[cells] if one_hot else cells[:, None].astype(np.float64)


@dataclass(frozen=True)
class Coins:
    """Independent variables with two cells, and the same probability of the second one."""

    variables: int
    probability: float

    @property
    def counts(self) -> Integers:
        return np.full(self.variables, 2, dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return torch.full((len(edges),), 1 - self.probability, dtype=torch.float64)


@dataclass(frozen=True)
class RowCells:
    """The cells of a batch of rows, row by row."""

    columns: Sequence[CodedColumn]
    below: Sequence[Callable[[Tensor, Tensor], Tensor]]
    """Of each column: (edges, rows) -> the probability of a cell below."""
    present: NDArray[np.bool_]
    """(b, columns)."""

    @property
    def counts(self) -> Integers:
        cells = np.array([column.cells for column in self.columns])
        return np.where(self.present, cells, 1).astype(np.int64).flatten()

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        found, rows = torch.empty(len(edges), dtype=torch.float64), chosen // len(self.columns)
        for number, below in enumerate(self.below):
            own = chosen % len(self.columns) == number
            found[own] = below(edges[own], rows[own])
        return found


@dataclass(frozen=True)
class RowSteps:
    """Rows in two steps: whether cells are there, and what they are."""

    likelihood: Columns
    columns: Sequence[CodedColumn]
    width: int
    """Of rows."""
    batch: int

    @cached_property
    def below(self) -> Sequence[Callable[[Tensor, Tensor], Tensor]]:
        return [self._below(column) for column in self.columns]

    def cells(self, before: Sequence[Integers]) -> Cells | None:
        if not before:
            return Coins(self.batch * len(self.columns), PRESENT)
        if len(before) == 2:
            return None
        return RowCells(self.columns, self.below, before[0].reshape(self.batch, -1).astype(bool))

    def divide(self, x: Tensor) -> list[Integers]:
        cells = cells_of(x, self.columns)
        return [(cells != MISSING).astype(np.int64).flatten(), np.maximum(cells, 0).flatten()]

    def join(self, values: Sequence[Integers]) -> Tensor:
        cells = np.where(values[0] > 0, values[1], MISSING).reshape(self.batch, -1)
        return rows_of(cells, self.columns, self.width)

    def _below(self, column: CodedColumn) -> Callable[[Tensor, Tensor], Tensor]:
        start = 0
        for group in self.likelihood.groups:
            if start <= column.start < start + group.values:
                return _cumulative(group.likelihood, column, column.start - start)
            start += group.values
        raise AssertionError("every column is in a group")


@dataclass(frozen=True)
class ColumnCoding(LatentCoding):
    """A VAE of rows. Columns that are not coded are missing for it."""

    columns: Sequence[CodedColumn]
    width: int
    """Of rows."""

    def canonical(self, x: Tensor) -> Tensor:
        return rows_of(cells_of(x, self.columns), self.columns, self.width)

    def plain(self, x: Tensor) -> bytes:
        """Column by column."""
        return cells_of(x, self.columns).T.astype(NUMBER).tobytes()

    def from_plain(self, content: bytes, items: int) -> Tensor:
        cells = np.frombuffer(content, NUMBER).astype(np.int64)
        if len(cells) != items * len(self.columns):
            raise ValueError("the rows have other sizes")
        rows = cells.reshape(-1, items).T
        if any(((part < MISSING) | (part >= c.cells)).any() for part, c in zip(rows.T, self.columns, strict=True)):
            raise ValueError("a cell is none of its column")
        return rows_of(rows, self.columns, self.width)

    @torch.no_grad()
    def likelihood(self, latent: Integers, batch: int) -> Steps:
        found = self.conditional(latent, batch)
        if not isinstance(found, Columns):
            raise BadPlan(f"A likelihood of the kind {type(found).__name__} has no columns.", "", "")
        return RowSteps(found, self.columns, self.width, batch)


def cells_of(x: Tensor, columns: Sequence[CodedColumn]) -> Integers:
    """The cells of rows (b, n), (b, columns); `MISSING` for NaN."""
    values = x.double().numpy()
    found = np.full((len(values), len(columns)), MISSING, dtype=np.int64)
    for number, column in enumerate(columns):
        own = values[:, column.start : column.start + column.width]
        present = ~np.isnan(own[:, 0])
        found[present, number] = column.numbers_of(own[present])
    return found


def rows_of(cells: Integers, columns: Sequence[CodedColumn], width: int) -> Tensor:
    """The inverse, in double precision; NaN also in columns that are not coded."""
    values = np.full((len(cells), width), np.nan)
    for number, column in enumerate(columns):
        present = np.flatnonzero(cells[:, number] != MISSING)
        values[present, column.start : column.start + column.width] = column.values_of(cells[present, number])
    return torch.from_numpy(values)


def _cumulative(likelihood: Likelihood, column: CodedColumn, start: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The probability of cells below an edge, for a column whose values begin at `start` in its group."""
    match likelihood:
        case TwoValued():
            zeros = torch.sigmoid(-likelihood.logits[:, start])
            return lambda _, rows: zeros[rows]
        case OneHot():
            logits = likelihood.logits[:, start : start + column.width]
            sums = logits.softmax(dim=1).cumsum(dim=1)
            return lambda edges, rows: sums[rows, edges - 1]
        case Normal():
            return _numeric(torch.special.ndtr, likelihood.mean, likelihood.scale, column, start)
        case StudentT():
            degrees = float(likelihood.degrees.expand(likelihood.location.shape)[0, start])
            return _numeric(_student(degrees), likelihood.location, likelihood.scale, column, start)
        case LogisticSteps() | LogisticCounts():
            return _numeric(torch.sigmoid, likelihood.location, likelihood.scale, column, start)
    raise BadPlan(f"A column of the kind {type(likelihood).__name__} gives cells no probabilities.", "", "")


def _numeric(
    function: Callable[[Tensor], Tensor], location: Tensor, scale: Tensor | float, column: CodedColumn, start: int
) -> Callable[[Tensor, Tensor], Tensor]:
    places, edges = location[:, start], column.edges
    assert edges is not None, "a column of numbers has edges"
    scales = torch.as_tensor(scale, dtype=torch.float64).expand(location.shape)[:, start]
    return lambda cells, rows: function(
        (torch.from_numpy(edges(cells.double().numpy() - 0.5)) - places[rows]) / scales[rows]
    )


def _student(degrees: float) -> Callable[[Tensor], Tensor]:
    special: Any = require("scipy.special", "compute the probabilities of Student-t columns", "codec")
    return lambda t: torch.from_numpy(np.asarray(special.stdtr(degrees, t.numpy())))
