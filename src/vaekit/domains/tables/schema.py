"""The columns of a table: numbers, which are standardized, and columns with two values, which become 0 and 1."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.csv_rows import is_number
from vaekit.datasets.dataset import Record, Row
from vaekit.errors import BadItem, NotFound, NoTrainingData, did_you_mean, printable, shorten
from vaekit.records import from_dict

NORMAL, BINARY = "normal", "bernoulli"
"""Kinds of columns, as the likelihood `columns` calls them."""
RESOLUTION = 4
"""Digits that are written below the standard deviation of a column."""
LEAST_DIGITS, MOST_DIGITS = 6, 17
"""Significant digits of the numbers that are written."""
SMALLEST_STD = 1e-150
"""A column whose standard deviation is smaller counts as constant."""
LARGEST = 1e15
"""Of a value in standard deviations: its square is still finite in fp32."""


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: str
    mean: float = 0.0
    """Of the numbers of a normal column."""
    std: float = 1.0
    """Their standard deviation; 1 where it is 0."""
    values: tuple[str, ...] = ()
    """Of a bernoulli column: what 0 and 1 stand for."""

    def __post_init__(self) -> None:
        fits = {
            NORMAL: self.std > SMALLEST_STD and math.isfinite(self.std + self.mean),
            BINARY: len(self.values) == len(set(self.values)) == 2,
        }
        "".join((self.name, *self.values)).encode()  # a UnicodeEncodeError is a ValueError
        if not fits.get(self.kind, False):
            raise ValueError(f"the column {printable(self.name)} is neither numbers nor two values")

    def number(self, text: str, key: str) -> float:
        """A value of a row -> what the VAE sees.

        Raises:
            BadItem: it is no value of this column.
        """
        value = text.strip()
        if self.kind == BINARY:
            if value not in self.values:
                raise BadItem(
                    f"{printable(key)} has {printable(repr(value))} in the column {printable(self.name)}.",
                    f"Expected {' or '.join(printable(repr(each)) for each in self.values)}.",
                    "",
                )
            return float(self.values.index(value))
        if not is_finite(value):
            raise BadItem(
                f"{printable(key)} has {printable(repr(value))} in the column {printable(self.name)}.",
                "Expected a number.",
                "",
            )
        standardized = (float(value) - self.mean) / self.std
        if abs(standardized) > LARGEST:
            raise BadItem(
                f"{printable(key)} has {printable(repr(value))} in the column {printable(self.name)}.",
                f"Expected at most {LARGEST:g} standard deviations of {self.std:.6g} from the mean.",
                "",
            )
        return standardized

    def text(self, number: float) -> str:
        """The inverse of `number`."""
        if self.kind == BINARY:
            return self.values[int(number > 0.5)]
        value = number * self.std + self.mean
        digits = RESOLUTION + math.ceil(math.log10(max(abs(value) / self.std, 1)))
        return f"{value:.{min(max(digits, LEAST_DIGITS), MOST_DIGITS)}g}"


@dataclass(frozen=True)
class TableSchema:
    """The columns that a VAE takes."""

    columns: tuple[Column, ...]
    """In the order of the file. Tensors have the normal columns first."""

    def __post_init__(self) -> None:
        if len({column.name for column in self.columns}) < len(self.columns):
            raise ValueError("two columns have one name")

    @property
    def ordered(self) -> list[Column]:
        """In the order of tensors."""
        return sorted(self.columns, key=lambda column: column.kind != NORMAL)

    def count(self, kind: str) -> int:
        """The number of columns of a kind."""
        return sum(column.kind == kind for column in self.columns)

    def as_plain(self) -> dict[str, Any]:
        return {"columns": [asdict(column) | {"values": list(column.values)} for column in self.columns]}

    def vae_settings(self) -> dict[str, Any]:
        kinds = [f"{kind}:{self.count(kind)}" for kind in (NORMAL, BINARY) if self.count(kind)]
        return {"net": {"data_shape": [len(self.columns)]}, "likelihood": {"columns": kinds}}

    def example(self) -> Tensor:
        return torch.zeros(1, len(self.columns))

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Rows (b, n): standard deviations from the mean, and 0 or 1."""
        return torch.tensor([self._numbers(record) for record in records], dtype=torch.float32).reshape(
            -1, len(self.columns)
        )

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def _numbers(self, record: Record) -> list[float]:
        if not isinstance(record, Row):
            raise BadItem(f"A {type(record).__name__} is no row of a table.", "", "Name a CSV file.")
        missing = next((column.name for column in self.columns if column.name not in record.values), None)
        if missing is not None:
            raise BadItem(
                f"{printable(record.name)} has no column {printable(repr(missing))}.",
                f"Expected the columns {printable(', '.join(column.name for column in self.columns), 300)}.",
                "Give a table with the columns that the VAE was trained on.",
            )
        return [column.number(record.values[column.name], record.name) for column in self.ordered]

    def to_items(self, x: Tensor) -> list[dict[str, str]]:
        """Column to value, in the order of the file and in its units."""
        order = self.ordered
        rows = (
            {column.name: column.text(value) for column, value in zip(order, row, strict=True)} for row in x.tolist()
        )
        return [{column.name: row[column.name] for column in self.columns} for row in rows]

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """A number column in its own unit, or the probability of `column=value` for one of two values.

        Args:
            name: of the column, also after "column:"; of a two-valued one with a value.

        Raises:
            NotFound: there is no such column, or no such value.
        """
        order = self.ordered
        column, value = self._column_and_value(name)
        place = order.index(column)
        if column.kind == NORMAL:
            return lambda x: x[:, place] * column.std + column.mean
        one = column.values.index(value)
        return lambda x: x[:, place] if one else 1 - x[:, place]

    def _column_and_value(self, name: str) -> tuple[Column, str]:
        """The column that a property names, and its value, or "" for numbers."""
        known = {column.name: column for column in self.columns if column.kind == NORMAL}
        choices = {f"{column.name}={value}": (column, value) for column in self.columns for value in column.values}
        for each in (name, name.removeprefix("column:")):
            if each in known:
                return known[each], ""
            if each in choices:
                return choices[each]
        raise NotFound(
            f"The rows have no property {printable(repr(name))}.",
            f"Expected {shorten([*known, *choices])}.",
            did_you_mean(name.removeprefix("column:"), [*known, *choices]),
        )


def is_finite(text: str) -> bool:
    """Whether a value is written as a finite number."""
    return is_number(text) and math.isfinite(float(text))


def fit(records: Iterable[Record]) -> TableSchema:
    """The schema of the rows to train on.

    Raises:
        NoTrainingData: there are none, or a column holds neither numbers nor two values.
    """
    rows = [record for record in records if isinstance(record, Row)]
    if not rows:
        raise NoTrainingData("The table has no row that can be read.", "", "Give more rows.")
    return TableSchema(tuple(column_of(name, rows) for name in rows[0].values))


def column_of(name: str, rows: Sequence[Row]) -> Column:
    """A column as its values are.

    Raises:
        NoTrainingData: they are neither numbers nor two values.
    """
    texts = [row.values[name].strip() for row in rows]
    distinct = sorted(set(texts))
    if len(distinct) == 2 and "" not in distinct:
        numbers = sorted(distinct, key=float) if all(map(is_finite, distinct)) else distinct
        return Column(name, BINARY, values=tuple(numbers))
    wrong = next((row for row, text in zip(rows, texts, strict=True) if not is_finite(text)), None)
    if wrong is not None:
        raise NoTrainingData(
            f"The column {printable(name)} has {printable(repr(wrong.values[name]))} in {printable(wrong.name)}.",
            "Expected a number in every row, or two different values in all.",
            "Remove the column or the rows, or write its values as numbers.",
        )
    values = torch.tensor([float(text) for text in texts], dtype=torch.float64)
    std = float(values.std(correction=0))
    mean = float(values.mean())
    if not math.isfinite(mean):
        raise NoTrainingData(f"The values of the column {printable(name)} are too large.", "", "Scale them.")
    return Column(name, NORMAL, mean, std if SMALLEST_STD < std < math.inf else 1.0)


def schema_from(plain: Mapping[str, Any]) -> TableSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    columns = plain.get("columns")
    if not isinstance(columns, list) or not columns:
        raise ValueError("it has no columns")
    return TableSchema(tuple(map(column_from, columns)))


def column_from(values: Any) -> Column:
    """A column as a file holds it. Its mean and standard deviation may be larger than the numbers of a recipe.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(values, dict):
        raise ValueError("a column is no table")
    numbers = {name: values[name] for name in ("mean", "std") if name in values}
    if not all(type(number) in (int, float) for number in numbers.values()):
        raise ValueError("a mean or a standard deviation is not a number")
    column = from_dict(Column, {name: value for name, value in values.items() if name not in numbers})
    return replace(column, mean=float(numbers.get("mean", 0)), std=float(numbers.get("std", 1)))
