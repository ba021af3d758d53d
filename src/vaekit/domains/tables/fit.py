"""Infer the columns of a table from its rows."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.csv_format import is_number
from vaekit.datasets.row_chunks import RowChunk, texts_array
from vaekit.domains.tables.cells import Cells, dates, is_number_array, numbers, texts
from vaekit.domains.tables.columns import (
    BERNOULLI,
    BINARY,
    CATEGORICAL,
    CONSTANT,
    COUNT,
    COUNTS,
    DATE,
    DAY,
    IGNORED,
    KINDS,
    NORMAL,
    ONE_HOT,
    ORDINAL,
    POSITIVE,
    REAL,
    SMALLEST_SCALE,
    STEPS,
    Column,
)
from vaekit.errors import BadRecipe, NoTrainingData, did_you_mean, printable

MOST_LEVELS = 20
"""A column of more different integers is one of counts, or real; of fewer, ordinal."""
MOST_CATEGORIES = 64
"""The most frequent ones; others count as unseen."""
MOST_UNSEEN = 0.5
"""Share of cells outside the most frequent categories above which a column of texts is refused."""
MOST_DECIMALS = 6
MOSTLY = 0.9
"""Share of numbers above which a column is one of numbers."""
ROWS_PER_LEVEL = 5
"""Rows for each different number of an ordinal column, at least."""
SPREAD_90 = 3.29
"""The distance of the quantiles at 5 and 95 % of a normal distribution, in standard deviations."""
LARGEST_RATIO = 10.0
"""Of the standard deviation to the scale."""
LARGEST_SUM = 1e150
"""Of the magnitudes of all numbers of a column: their squares are finite, too."""
NUMERIC_FORM = re.compile(r"[+\-(]?[$€£¥]?\s?[+-]?\d[\d.,:/'\s-]*[%‰$€£¥)]?")
"""Numbers with a unit, with separators of thousands or with a decimal comma, and dates and times in other forms."""
HEAVY_TAIL = 10.0
"""Tail ratio above which positive numbers and counts are taken on a logarithmic scale. With a lower one fewer anomalies
are found: a logarithm brings large values closer (docs/anomaly.md)."""
DATE_STEPS = (float(DAY), 3600.0, 60.0, 1.0)
"""Of a date column: a day, an hour, a minute, a second."""
NOUNS = {REAL: "a number", POSITIVE: "a positive number", COUNT: "a count", ORDINAL: "a number", DATE: "a date"}
OVERRIDES = (NORMAL, *KINDS, IGNORED)
"""What a column can be declared as; `normal` is real with a normal distribution."""


@dataclass(frozen=True)
class Declared:
    """A kind that a user gave a column."""

    kind: str
    values: tuple[str, ...] = ()
    """Of an ordinal column, its levels in order."""


def declared(text: str) -> Declared:
    """Parse a declaration, such as `positive` or `ordinal:low,medium,high`.

    Raises:
        BadRecipe: there is no such kind.
    """
    kind, _, values = text.partition(":")
    levels = tuple(each.strip() for each in values.split(",")) if values else ()
    if kind not in OVERRIDES or (levels and (kind != ORDINAL or len(set(levels)) < max(len(levels), 2))):
        raise BadRecipe(
            f"A column is declared as {printable(repr(text))}.",
            f"Expected one of {', '.join(OVERRIDES)}, or ordinal with its levels: ordinal:low,medium,high.",
            "",
        )
    return Declared(kind, levels)


def fit_columns(chunk: RowChunk, overrides: Mapping[str, str], real: str) -> tuple[Column, ...]:
    """The columns of rows.

    Args:
        chunk: the rows to train on.
        overrides: column to declared kind; the others are inferred.
        real: the likelihood of real numbers, `student` or `normal`.

    Raises:
        NoTrainingData: a column is of no kind, or not of the declared one.
        BadRecipe: a column is declared that does not exist, or as a kind that does not exist.
    """
    unknown = next((name for name in overrides if name not in chunk.columns), None)
    if unknown is not None:
        raise BadRecipe(
            f"The data have no column {printable(repr(unknown))}.",
            f"Expected one of {printable(', '.join(chunk.columns), 300)}.",
            did_you_mean(unknown, chunk.columns),
        )
    wanted = {name: declared(text) for name, text in overrides.items()}
    columns: list[Column] = []
    for name, cells in chunk.columns.items():
        choice = wanted.get(name) or Declared(inferred(name, cells, chunk.names))
        if choice.kind != IGNORED:
            columns.append(fit_column(name, cells, chunk.names, choice, real))
    if not columns:
        raise NoTrainingData("Every column of the table is ignored.", "Expected at least one column.", "")
    return tuple(columns)


def inferred(name: str, cells: Cells, rows: Sequence[str]) -> str:
    """The kind of a column by its cells.

    Raises:
        NoTrainingData: it has numbers, or dates, with exceptions that are more likely to be errors than categories; or
            numbers or dates in an unknown form.
    """
    values = numbers(cells)
    observed = ~np.isnan(values)
    wrong = observed & np.isinf(values)
    if not is_number_array(cells) and not_numeric(cells[wrong]) > (1 - MOSTLY) * observed.sum():
        if not are_levels(values[np.isfinite(values)], int(observed.sum())):
            refuse_exception(name, cells, rows, ~wrong, "a number")
        return inferred_of_texts(name, cells, rows)
    if wrong.any():
        refuse_cell(name, cells, rows, int(wrong.argmax()), "Expected a number in every row.")
    kind = inferred_of_numbers(values[observed])
    if kind in (BINARY, CONSTANT) and len({text for text in texts(cells) if text}) != len(np.unique(values[observed])):
        return CATEGORICAL  # such as 0, 0.0 and 1, or large integers that float64 does not distinguish
    return kind


def not_numeric(cells: Cells) -> int:
    """The number of cells that are not numbers; infinity is one."""
    return sum(not is_number(text) for text in texts(cells))


def inferred_of_texts(name: str, cells: Cells, rows: Sequence[str]) -> str:
    """The kind of a column of texts.

    Raises:
        NoTrainingData: see `inferred`.
    """
    stripped = texts(cells)
    distinct = {text for text in stripped if text}
    if len(distinct) <= 2:
        return BINARY if len(distinct) == 2 else CONSTANT
    values = dates(cells)
    is_date = np.isfinite(values)
    observed = int((~np.isnan(values)).sum())
    if is_date.sum() == observed:
        return DATE
    if is_date.sum() >= MOSTLY * observed or not are_levels(values[is_date], observed):
        refuse_exception(name, cells, rows, ~np.isinf(values), "a date in ISO 8601, such as 2024-02-29,")
    numeric = np.array([NUMERIC_FORM.fullmatch(text) is not None for text in stripped])
    if numeric.sum() >= MOSTLY * observed and len(distinct) > most_levels(observed):
        refuse_cell(name, cells, rows, int(numeric.argmax()), "Expected numbers such as 1234.5, or dates in ISO 8601.")
    return CATEGORICAL


def most_levels(count: int) -> int:
    """The number of different values that a column of `count` cells has at most if they are levels or categories."""
    return min(MOST_LEVELS, count // ROWS_PER_LEVEL)


def are_levels(values: NDArray[np.float64], count: int) -> bool:
    """Whether numbers among the `count` cells of a column are few enough to be categories."""
    return len(np.unique(values)) <= max(most_levels(count), 2)


def refuse_exception(name: str, cells: Cells, rows: Sequence[str], fits: NDArray[np.bool_], expected: str) -> NoReturn:
    """Refuse a column because of the first cell that is not of the kind of most others.

    Raises:
        NoTrainingData: always.
    """
    refuse_cell(name, cells, rows, int((~fits).argmax()), f"Expected {expected} in every row, as in others.")


def inferred_of_numbers(values: NDArray[np.float64]) -> str:
    """The kind of a column of finite numbers."""
    distinct = np.unique(values)
    if len(distinct) <= 2:
        return BINARY if len(distinct) == 2 else CONSTANT
    if len(distinct) <= most_levels(len(values)):
        return ORDINAL
    if distinct[0] >= 0 and (distinct == np.round(distinct)).all():
        return COUNT
    return POSITIVE if distinct[0] >= 0 and tail_ratio(values) > HEAVY_TAIL else REAL


def fit_column(name: str, cells: Cells, rows: Sequence[str], choice: Declared, real: str) -> Column:
    """A column of a kind.

    Raises:
        NoTrainingData: its cells are not of this kind, or too large.
    """
    if choice.kind in (BINARY, CATEGORICAL, CONSTANT):
        return fit_texts(name, cells, choice.kind)
    if choice.values:
        return fit_levels(name, cells, rows, choice.values)
    kind, likelihood = (REAL, NORMAL) if choice.kind == NORMAL else (choice.kind, real)
    values = dates(cells) if kind == DATE else numbers(cells)
    observed = values[~np.isnan(values)]
    wrong = np.isinf(values) | (values < 0 if kind in (POSITIVE, COUNT) else False)
    if wrong.any():
        refuse_cell(name, cells, rows, int(wrong.argmax()), f"Expected {NOUNS[kind]} in every row.")
    if not len(observed):
        raise NoTrainingData(f"The column {printable(name)} is empty.", f"Expected {NOUNS[kind]} in some rows.", "")
    too_large = np.abs(values) > LARGEST_SUM / len(observed)
    if too_large.any():
        expected = f"Expected numbers below {LARGEST_SUM / len(observed):.0e}."
        refuse_cell(name, cells, rows, int(too_large.argmax()), expected)
    step, unit = 0.0, 0.0
    if kind in (COUNT, ORDINAL):
        likelihood = COUNTS if kind == COUNT and tail_ratio(observed) > HEAVY_TAIL else STEPS
        step = least_step(observed) if likelihood == STEPS else 0.0
    elif kind == POSITIVE:
        unit = float(np.quantile(observed[observed > 0], 0.05)) if (observed > 0).any() else 1.0
    elif kind == DATE:
        step = date_step(observed)
    shape = Column(
        name,
        kind,
        likelihood,
        unit=unit,
        step=step,
        low=float(observed.min()),
        high=float(observed.max()),
        decimals=None if kind == DATE else decimals_of(observed),
    )
    center, scale = center_and_scale(shape.transform(observed))
    return replace(shape, center=center, scale=scale)


def fit_levels(name: str, cells: Cells, rows: Sequence[str], levels: tuple[str, ...]) -> Column:
    """An ordinal column of texts, whose numbers are the places of its levels.

    Raises:
        NoTrainingData: a cell is none of them.
    """
    column = Column(name, ORDINAL, STEPS, low=0.0, high=float(len(levels) - 1), step=1.0, values=levels)
    values = column.parse(cells)
    if np.isinf(values).any():
        refuse_cell(name, cells, rows, int(np.isinf(values).argmax()), column.expected(cells))
    observed = values[~np.isnan(values)]
    center, scale = center_and_scale(observed) if len(observed) else (0.0, 1.0)
    return replace(column, center=center, scale=scale)


def fit_texts(name: str, cells: Cells, kind: str) -> Column:
    """A column of categories, or of one or two values.

    Raises:
        NoTrainingData: it has other values than its kind allows, or too many.
    """
    counts = Counter(text for text in texts(cells) if text)
    total = sum(counts.values())
    if kind == BINARY and len(counts) != 2:
        raise NoTrainingData(f"The column {printable(name)} has {len(counts):,} values.", "Expected two values.", "")
    if kind == CONSTANT and len(counts) > 1:
        raise NoTrainingData(f"The column {printable(name)} has {len(counts):,} values.", "Expected one value.", "")
    frequent = [text for text, _ in counts.most_common(MOST_CATEGORIES)]
    if total - sum(counts[text] for text in frequent) > MOST_UNSEEN * total:
        raise NoTrainingData(
            f"The column {printable(name)} has {len(counts):,} different texts in {total:,} rows.",
            f"Expected numbers, dates, or categories of which the {MOST_CATEGORIES} most frequent make up at least "
            f"{1 - MOST_UNSEEN:.0%} of the rows.",
            f"Ignore it: --column '{printable(name)}=ignored'.",
        )
    return Column(name, kind, BERNOULLI if kind == BINARY else ONE_HOT, values=tuple(in_order(frequent or [""])))


def in_order(values: Sequence[str]) -> list[str]:
    """Values in numeric order, if all are numbers, otherwise in alphabetical order."""
    as_numbers = numbers(texts_array(values))
    return sorted(values, key=float) if np.isfinite(as_numbers).all() else sorted(values)


def refuse_cell(name: str, cells: Cells, rows: Sequence[str], place: int, expected: str) -> NoReturn:
    """Refuse a column because of a cell.

    Raises:
        NoTrainingData: always.
    """
    raise NoTrainingData(
        f"The column {printable(name)} has {printable(repr(texts(cells[place : place + 1])[0]))} in "
        f"{printable(rows[place])}.",
        expected,
        f"Correct or remove the row, or declare the column: --column '{printable(name)}=categorical' or "
        f"'{printable(name)}=ignored'.",
    )


def tail_ratio(values: NDArray[np.float64]) -> float:
    """The length of the upper tail of the positive values in units of their median, between the quantiles at 50 and
    95 %: 3.3 for an exponential distribution, 10 for a lognormal one of sigma 1.5; 0 without positive values."""
    positive = values[values > 0]
    if not len(positive):
        return 0.0
    median, high = np.quantile(positive, (0.5, 0.95)).tolist()
    return (high - median) / median


def date_step(values: NDArray[np.float64]) -> float:
    """The longest of a day, an hour, a minute and a second that all dates, in seconds, are multiples of; 0 for none."""
    return next((step for step in DATE_STEPS if not np.mod(values, step).any()), 0.0)


def least_step(values: NDArray[np.float64]) -> float:
    """The smallest distance of two different values; 1 for constant ones."""
    gaps = np.diff(np.unique(values))
    return float(gaps.min()) if len(gaps) else 1.0


def decimals_of(values: NDArray[np.float64]) -> int | None:
    """The decimal places of all values, if these are few."""
    tolerance = 1e-9 * np.maximum(np.abs(values), 1)
    for places in range(MOST_DECIMALS + 1):
        if (np.abs(np.round(values, places) - values) <= tolerance).all():
            return places
    return None


def center_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median, and standard deviation estimated from the quantiles at 5 and 95 %.

    The standard deviation itself is the estimate where these are equal, and bounds it from below, so that values which
    are rarely different from the median stay within reach; 1 for constant values.
    """
    low, center, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    std = float(values.std())
    scale = max((high - low) / SPREAD_90, std / LARGEST_RATIO)
    return center, scale if SMALLEST_SCALE < scale < math.inf else 1.0
