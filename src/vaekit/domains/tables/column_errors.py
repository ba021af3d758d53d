"""Reconstruction errors of single columns, in the units of the data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from vaekit.domains.tables.columns import CONSTANT, DATE, DAY, NUMERIC, Column
from vaekit.domains.tables.schema import TableSchema
from vaekit.evaluation.measures import PARTS, PooledMeasure, PooledResult, result_of
from vaekit.evaluation.vae_pass import VAEPass
from vaekit.metrics.measure import Measure
from vaekit.metrics.statistics import RunningMean

MOST_COLUMNS = 1000
"""Columns that are measured one by one; the first ones."""


def column_errors(schema: TableSchema) -> PooledMeasure | None:
    """The mean absolute error of each numeric column, and the share of wrong cells of each binary and categorical one,
    over observed cells; the results have the largest errors in standard units first. None if all columns are constant.
    """
    measured = [column for column in schema.ordered if column.kind != CONSTANT][:MOST_COLUMNS]
    if not measured:
        return None
    quantities = [quantity_of(column) for column in measured]
    slots = schema.slots()

    def rows(vae_pass: VAEPass) -> Tensor:
        x, result = vae_pass.x.double().cpu(), vae_pass.result.double().cpu()
        parts = [errors(column, x[:, slots[column.name]], result[:, slots[column.name]]) for column in measured]
        own, standard = (torch.stack(each, dim=1) for each in zip(*parts, strict=True))
        return torch.cat([own, standard], dim=1)

    settings = {"columns": [column.name for column in measured]}
    return PooledMeasure("column_errors", rows, partial(ColumnPool, quantities), settings)


def quantity_of(column: Column) -> Measure:
    """What is measured of a column."""
    if column.kind not in NUMERIC:
        about = "Share of the column's observed cells that do not come back as they were."
        return Measure(f"error of {column.name}", column.name, "of cells wrong", "lower", about, PARTS)
    unit = "days" if column.kind == DATE else "levels" if column.values else ""
    about = "Mean absolute error of the column's observed cells, in the unit of the data."
    return Measure(f"error of {column.name}", column.name, unit, "lower", about, PARTS)


def errors(column: Column, x: Tensor, result: Tensor) -> tuple[Tensor, Tensor]:
    """The errors of cells (b, width) in the units of the data and in standard units, (b,); NaN for missing cells."""
    missing = x[:, 0].isnan()
    if column.kind in NUMERIC:
        given, written = (torch.from_numpy(column.numbers(each[:, 0].numpy())) for each in (x, result))
        own = (written - given).abs() / (DAY if column.kind == DATE else 1)
        standard = (result - x)[:, 0].abs()
    elif column.width == 1:
        own = standard = ((result - x)[:, 0].abs() >= 0.5).double()
    else:
        own = standard = (result.argmax(dim=1) != x.argmax(dim=1)).double()
    return own.masked_fill(missing, torch.nan), standard.masked_fill(missing, torch.nan)


@dataclass(eq=False)
class ColumnPool:
    """Mean errors of columns."""

    quantities: Sequence[Measure]
    own: list[RunningMean] = field(init=False)
    standard: list[RunningMean] = field(init=False)

    def __post_init__(self) -> None:
        self.own, self.standard = ([RunningMean() for _ in self.quantities] for _ in range(2))

    def add(self, rows: Tensor) -> None:
        for mean, values in zip((*self.own, *self.standard), rows.T, strict=True):
            for value in values[~values.isnan()].tolist():
                mean.add(value)

    def result(self) -> PooledResult:
        places = [place for place, mean in enumerate(self.own) if mean.count]
        ordered = sorted(places, key=lambda place: -self.standard[place].mean)
        return PooledResult(tuple(result_of(self.quantities[place], self.own[place]) for place in ordered))
