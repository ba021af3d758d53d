"""Convert arrays and Python objects into the cells of a column: float64, or texts."""

import math
from collections.abc import Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import LARGEST_EXACT, number_text
from vaekit.datasets.row_chunks import texts_array
from vaekit.errors import NoTrainingData, printable

CONVERTIBLE = "fiubMmU"
"""Kinds of arrays, as NumPy calls them, whose cells can all be converted: numbers, booleans, times and texts."""
LARGEST_INTEGER = 2**1023
UNITS = ("s", "ms", "us", "ns")
"""Of times, from the coarsest one."""
NO_VALUES = frozenset({"NAType", "NaTType"})
"""The types of missing values of pandas, which is not imported."""
EXPECTED = "Expected numbers, texts, booleans, dates or missing values."
Cell = float | int | str | None


def column_of_array(values: NDArray[Any]) -> NDArray[Any]:
    """A column of one of the convertible kinds, or of texts, as float64 or texts; see `RowChunk`."""
    kind = values.dtype.kind
    if kind == "f":
        return values.astype(np.float64)
    if kind in "iu":
        exact = not ((values >= LARGEST_EXACT) | (values <= -LARGEST_EXACT)).any()
        return values.astype(np.float64) if exact else texts_array([str(value) for value in values.tolist()])
    if kind == "m":
        return np.asarray(values / np.timedelta64(1, "s"), np.float64)
    if kind == "M":
        return texts_array([None if text == "NaT" else text for text in date_texts(values)])
    if kind in "bU":
        return texts_array([cell(value) or None for value in values.tolist()])
    return values


def date_texts(values: NDArray[Any]) -> list[str]:
    """Times in ISO 8601: days as dates, other times with no more digits than necessary."""
    if np.datetime_data(values.dtype)[0] in ("Y", "M", "W", "D"):
        return np.datetime_as_string(values.astype("M8[D]")).tolist()
    present = values[~np.isnat(values)]
    unit = next((each for each in UNITS if (present.astype(f"M8[{each}]") == present).all()), "ns")
    return np.datetime_as_string(values.astype(f"M8[{unit}]")).tolist()


def is_convertible(dtype: np.dtype[Any]) -> bool:
    """Whether `column_of_array` can convert all arrays of a type. Months and years have no length in seconds."""
    return dtype.kind in CONVERTIBLE and not (dtype.kind == "m" and np.datetime_data(dtype)[0] in ("M", "Y"))


def stored_column(values: Any, column: str, title: str) -> NDArray[Any]:
    """An array or a sequence of Python objects as an array that `column_of_array` can convert.

    Args:
        values: one value for each row.
        column: its name, for messages.
        title: the name of the table, for messages.

    Raises:
        NoTrainingData: some values cannot be cells.
    """
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist()  # None for masked ones
    if isinstance(values, np.ndarray) and is_convertible(values.dtype):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OS":
        raise unsupported(f"The column {printable(column)} of {title} has", f"the type {values.dtype}")
    return column_of_objects(values.tolist() if isinstance(values, np.ndarray) else values, column, title)


def column_of_objects(values: Sequence[Any], column: str, title: str, categories: bool = False) -> NDArray[Any]:
    """Python objects as float64, if all are numbers that it represents, or as texts.

    Args:
        values: one for each row.
        column: its name, for messages.
        title: the name of the table, for messages.
        categories: whether numbers are names of categories, and become texts.

    Raises:
        NoTrainingData: some values cannot be cells.
    """
    cells: list[Cell] = []
    for row, value in enumerate(values):
        try:
            cells.append(cell(value))
        except (ValueError, TypeError, OverflowError) as error:
            place = f"The column {printable(column)} of {title} has in row {row:,}"
            raise unsupported(place, f"a value of the type {type(value).__name__}") from error
    if not categories and all(map(is_exact_number, cells)):
        return np.array([math.nan if each is None else each for each in cells], np.float64)
    return texts_array([text_of(each) for each in cells])


def is_exact_number(value: Cell) -> bool:
    """Whether a cell is missing, or a number that float64 represents."""
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST_EXACT)


def text_of(value: Cell) -> str | None:
    """A cell as text; None if it is missing."""
    return (value if isinstance(value, str) else number_text(value) if value is not None else None) or None


def cell(value: Any) -> Cell:
    """A Python object as a number, a text, or None if it is missing.

    >>> [cell(value) for value in (True, 2, 0.5, b"red", date(2024, 5, 17), float("nan"), Decimal("0.1"))]
    ['True', 2, 0.5, 'red', '2024-05-17', None, 0.1]

    Raises:
        ValueError, TypeError: it is something else, such as a list.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        if abs(int(value)) > LARGEST_INTEGER:
            raise OverflowError
        return int(value)
    if isinstance(value, float | np.floating):
        return None if value != value else float(value)
    if type(value).__name__ in NO_VALUES:
        return None
    return other_cell(value)


def other_cell(value: Any) -> Cell:
    """The same for less frequent types."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, np.datetime64 | np.timedelta64 | np.ndarray) and value.ndim == 0:
        only = column_of_array(value.reshape(1))[0]
        return None if only is None or only != only else only
    if isinstance(value, Decimal):
        return decimal_cell(value)
    no_text: object = object.__str__
    if isinstance(value, complex | Mapping | Sequence | Set | np.ndarray) or type(value).__str__ is no_text:
        raise TypeError
    return str(value)


def decimal_cell(value: Decimal) -> Cell:
    """A decimal as a number if its digits follow from that, and otherwise as text."""
    if value.is_nan():
        return None
    number = float(value)
    return number if Decimal(repr(number)) == value else format(value, "f")


def unsupported(place: str, found: str) -> NoTrainingData:
    """The error for values that cannot be cells."""
    return NoTrainingData(f"{place} {found}.", EXPECTED, "Remove the column, or convert its values.")
