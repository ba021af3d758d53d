"""The schema of a table: its columns, and the place of each in the tensors that a VAE takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.datasets.dataset import Record, Row
from vaekit.datasets.row_chunks import RowChunk, chunk_of
from vaekit.domains.tables.cells import texts
from vaekit.domains.tables.columns import (
    BERNOULLI,
    BINARY,
    COUNTS,
    LIKELIHOODS,
    NORMAL,
    ONE_HOT,
    REAL,
    STEPS,
    STUDENT,
    Column,
    as_plain,
)
from vaekit.domains.tables.fit import fit_columns
from vaekit.domains.tables.properties import column_property
from vaekit.errors import BadItem, NoTrainingData, counted, printable
from vaekit.records import from_dict

MAX_ROWS_TO_FIT = 200_000
LEAST_ROWS = 2
"""Rows that the columns are inferred from; more do not change them."""
NUMBER_FIELDS = ("center", "scale", "unit", "low", "high", "step")
"""Fields of columns that may be larger than the numbers of a recipe."""


@dataclass(frozen=True)
class TableSchema:
    """The columns that a VAE takes."""

    columns: tuple[Column, ...]
    """In the order of the file."""
    unseen: float = 0.0
    """The probability of a value that training never saw, in binary, categorical and constant columns."""
    ordered: tuple[Column, ...] = field(init=False, repr=False, compare=False)
    """In the order of their values in tensors: by likelihood, then as in the file."""

    def __post_init__(self) -> None:
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("two columns have one name")
        if not 0 <= self.unseen < 1:
            raise ValueError("unseen is no probability")
        ordered = sorted(self.columns, key=lambda column: LIKELIHOODS.index(column.likelihood))
        object.__setattr__(self, "ordered", tuple(ordered))

    @property
    def width(self) -> int:
        """The number of values of a row in a tensor."""
        return sum(column.width for column in self.columns)

    def slots(self) -> dict[str, slice]:
        """The values of each column in a row of a tensor, in the order of the factors of its likelihood."""
        ends = np.cumsum([column.width for column in self.ordered]).tolist()
        return {c.name: slice(end - c.width, end) for c, end in zip(self.ordered, ends, strict=True)}

    def as_plain(self) -> dict[str, Any]:
        return {"columns": [as_plain(column) for column in self.columns], "unseen": self.unseen}

    def vae_settings(self) -> dict[str, Any]:
        kinds = [column.likelihood for column in self.ordered]
        return {
            "net": {"data_shape": [self.width]},
            "likelihood": {
                "columns": [f"{kind}:{kinds.count(kind)}" for kind in dict.fromkeys(kinds)],
                "half_steps": [column.step / column.scale / 2 for column in self.ordered if column.likelihood == STEPS],
                "centers": [column.center for column in self.ordered if column.likelihood == COUNTS],
                "spreads": [column.scale for column in self.ordered if column.likelihood == COUNTS],
                "choices": [column.width for column in self.ordered if column.likelihood == ONE_HOT],
                "unseen": self.unseen,
            },
        }

    def example(self) -> Tensor:
        return torch.zeros(1, self.width)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Rows (b, n): standardized numbers, 0 or 1 for two values, one-hot categories; NaN for missing cells."""
        rows: list[Row] = []
        for record in records:
            if not isinstance(record, Row):
                raise BadItem(
                    f"A {type(record).__name__} is no row of a table.", "", "Name a table, such as a CSV file."
                )
            rows.append(record)
        x, problems = self.values(chunk_of(rows))
        if problems:
            raise BadItem(problems[min(problems)], "", "")
        return x

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def values(self, chunk: RowChunk) -> tuple[Tensor, dict[int, str]]:
        """Rows as the VAE takes them (b, n), and by position why some cannot be taken: all values of these are NaN.

        Raises:
            BadItem: a column is missing.
        """
        if not len(chunk):
            return torch.empty(0, self.width), {}
        self._check_names(chunk)
        problems = dict(chunk.problems)
        parts: list[NDArray[np.float64]] = []
        for column in self.ordered:
            cells = chunk.columns[column.name]
            values, bad = column.encode(cells)
            for row in np.flatnonzero(bad).tolist():
                cell = printable(repr(texts(cells[row : row + 1])[0]))
                found = f"{printable(chunk.names[row])} has {cell} in the column {printable(column.name)}."
                problems.setdefault(row, f"{found} {column.expected(cells[row : row + 1])}")
            parts.append(values)
        x = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))
        x[sorted(problems)] = torch.nan
        return x, problems

    def _check_names(self, chunk: RowChunk) -> None:
        missing = [column.name for column in self.columns if column.name not in chunk.columns]
        if missing:
            raise BadItem(
                f"{printable(chunk.names[0])} has no column {printable(repr(missing[0]))}.",
                f"Expected the columns {printable(', '.join(column.name for column in self.columns), 300)}.",
                "Give a table with the columns that the VAE was trained on.",
            )

    def to_items(self, x: Tensor) -> list[dict[str, str]]:
        """Column to cell, in the order of the file and in its units; empty for NaN."""
        values, slots = x.double().numpy(force=True), self.slots()
        cells = {column.name: column.decode(values[:, slots[column.name]]) for column in self.columns}
        return [{name: cells[name][row] for name in cells} for row in range(len(x))]

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """A column; see `column_property`."""
        return column_property(self.ordered, name)


def fit(records: Sequence[Row], overrides: Mapping[str, str] = {}, real: str = STUDENT) -> TableSchema:
    """The schema of the rows to train on; see `fit_columns`.

    Raises:
        NoTrainingData: there are none, or a column is of no kind.
        BadRecipe: a declared column or kind does not exist.
    """
    if len(records) < LEAST_ROWS:
        raise NoTrainingData(
            f"The table has {counted(len(records), 'row')} to train on.",
            f"Expected {LEAST_ROWS} or more.",
            "Give more.",
        )
    return fit_chunk(chunk_of(records), overrides, real)


def fit_chunk(chunk: RowChunk, overrides: Mapping[str, str] = {}, real: str = STUDENT) -> TableSchema:
    """The same for rows by column."""
    return TableSchema(fit_columns(chunk, overrides, real), unseen=1 / (len(chunk) + 2))


def schema_from(plain: Mapping[str, Any]) -> TableSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    columns, unseen = plain.get("columns"), plain.get("unseen", 0.0)
    if not isinstance(columns, list) or not columns or type(unseen) not in (int, float):
        raise ValueError("it has no columns")
    return TableSchema(tuple(map(column_from, columns)), float(unseen))


def column_from(values: Any) -> Column:
    """A column as a file holds it, also one of the first edition.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(values, dict):
        raise ValueError("a column is no table")
    current = values if "likelihood" in values else of_first_edition(values)
    numbers = {name: current.get(name, Column.__dataclass_fields__[name].default) for name in NUMBER_FIELDS}
    if not all(type(number) in (int, float) for number in numbers.values()):
        raise ValueError("a number of a column is not a number")
    checked = from_dict(ColumnFields, {name: value for name, value in current.items() if name not in numbers})
    return Column(
        checked.name,
        checked.kind,
        checked.likelihood,
        **{name: float(number) for name, number in numbers.items()},
        decimals=checked.decimals,
        values=checked.values,
    )


@dataclass(frozen=True)
class ColumnFields:
    """The other fields."""

    name: str
    kind: str
    likelihood: str
    decimals: int | None = None
    values: tuple[str, ...] = ()


def of_first_edition(values: Mapping[str, Any]) -> dict[str, Any]:
    """A column of the first edition, which knew `normal` and `bernoulli` ones."""
    kinds = {NORMAL: (REAL, NORMAL), BERNOULLI: (BINARY, BERNOULLI)}
    kind, likelihood = kinds.get(str(values.get("kind")), ("", ""))
    names = {"mean": "center", "std": "scale"}
    renamed = {names.get(name, name): value for name, value in values.items()}
    return {**renamed, "kind": kind, "likelihood": likelihood}
