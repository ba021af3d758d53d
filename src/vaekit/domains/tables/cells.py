"""Read cells of a table: numbers, dates and missing values."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import MISSING, cell_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Cells = NDArray[Any]
"""The cells of a column: float64 with NaN for missing ones, or objects, strings or None."""


def is_number_array(cells: Cells) -> bool:
    """Whether cells are numbers rather than texts."""
    return cells.dtype != object


def texts(cells: Cells) -> list[str]:
    """Cells as stripped text; empty for missing ones."""
    if is_number_array(cells):
        return [cell_text(value) for value in cells.tolist()]
    stripped = ("" if value is None else str(value).strip() for value in cells.tolist())
    return ["" if value in MISSING else value for value in stripped]


def as_written(cells: Cells) -> list[str]:
    """Cells as text that is copied to other files: texts as they are, numbers in their shortest form; empty for missing
    ones."""
    return [cell_text(value) for value in cells.tolist()]


def numbers(cells: Cells) -> NDArray[np.float64]:
    """Cells as numbers: NaN for missing ones, infinity for everything that is not a finite number."""
    if is_number_array(cells):
        return np.asarray(cells, np.float64)
    try:
        values = cells.astype(np.float64)  # fast, if no cell is missing or damaged
    except (ValueError, TypeError):
        return np.array([number(text) for text in texts(cells)], np.float64)
    suspicious = ~np.isfinite(values)
    values[suspicious] = [number(text) for text in texts(cells[suspicious])]
    return values


def number(text: str) -> float:
    """A text as a number: NaN if it is missing, infinity if it is not a finite number."""
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return value if math.isfinite(value) else math.inf


def dates(cells: Cells) -> NDArray[np.float64]:
    """Dates in ISO 8601 as seconds since 1970: NaN for missing ones, infinity for everything else."""
    return np.array([seconds(text) for text in texts(cells)], np.float64)


def seconds(text: str) -> float:
    """A date in ISO 8601 as seconds since 1970, in UTC unless it has a time zone; see `dates`."""
    if not text:
        return math.nan
    if len(text) < len("2000-01-01"):  # "20000101" is more likely a number
        return math.inf
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - EPOCH).total_seconds()
