"""Convert rows of CSV into columns."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import column_of_texts, with_point, with_points
from vaekit.datasets.csv_arrow import FEWEST, parsed_columns
from vaekit.datasets.csv_format import nul_character, wrong_count
from vaekit.datasets.csv_lines import CsvRow, values_of
from vaekit.datasets.row_chunks import RowChunk, spread
from vaekit.errors import BadItem

NUL = "\0"


class CsvColumns:
    """Converts the rows of one file. Remembers, from one chunk to the next, which columns have decimal commas: a value
    such as 1.234 is ambiguous by itself.

    Args:
        names: of the columns.
        delimiter: between values.
        decimals: the columns that are known to have decimal commas, by index; others are not recognized any more. None
            recognizes them.
    """

    def __init__(self, names: tuple[str, ...], delimiter: str, decimals: frozenset[int] | None = None) -> None:
        self.names, self.delimiter = names, delimiter
        self.decimals = decimals or frozenset()
        self.undecided = decimals is None and delimiter != ","
        self._texts: frozenset[int] | None = None
        """The columns that had texts in the last chunk, which are likely to have texts in the next one."""

    def chunk(self, rows: Sequence[CsvRow], names: Sequence[str]) -> RowChunk:
        """Rows with their names as a chunk."""
        count = len(self.names)
        counts = self._counts(rows)
        problems = {place: str(BadItem(*nul_character(names[place]))) for place in nul_places(rows)}
        problems |= {
            place: str(BadItem(*wrong_count(names[place], counts[place], count)))
            for place in np.flatnonzero(counts != count).tolist()
        }
        good = np.setdiff1d(np.arange(len(rows)), list(problems)) if problems else np.arange(len(rows))
        columns = self._columns([rows[place] for place in good.tolist()] if problems else rows)
        return RowChunk(
            names,
            {name: spread(column, good, len(rows)) for name, column in zip(self.names, columns, strict=True)},
            dict(sorted(problems.items())),
        )

    def _counts(self, rows: Sequence[CsvRow]) -> NDArray[np.int64]:
        """The number of values of each row."""
        if are_lines(rows):
            return np.array([row.count(self.delimiter) for row in rows], np.int64) + 1
        return np.array([len(values_of(row, self.delimiter)) for row in rows], np.int64)

    def _columns(self, rows: Sequence[CsvRow]) -> Sequence[NDArray[Any]]:
        """The columns of rows that have as many values as there are columns."""
        if not rows:
            return [np.empty(0, np.float64)] * len(self.names)
        columns = [self._column(place, values) for place, values in enumerate(self._parsed(rows))]
        self._texts = frozenset(place for place, column in enumerate(columns) if column.dtype == object)
        return columns

    def _parsed(self, rows: Sequence[CsvRow]) -> Sequence[NDArray[np.float64] | Sequence[str]]:
        """Columns as numbers, where that is fast, or as texts."""
        if are_lines(rows) and len(rows) >= FEWEST:
            if self._texts is None:
                first = map(column_of_texts, self._transposed(rows[:FEWEST]))
                self._texts = frozenset(place for place, column in enumerate(first) if column.dtype == object)
            columns = parsed_columns(rows, self.delimiter, len(self.names), self._texts | self.decimals)
            if columns is not None:
                return columns
        return self._transposed(rows)

    def _transposed(self, rows: Sequence[CsvRow]) -> Sequence[Sequence[str]]:
        """The texts of each column."""
        if not are_lines(rows):
            return list(zip(*(values_of(row, self.delimiter) for row in rows), strict=True))
        values = self.delimiter.join(rows).split(self.delimiter)
        return [values[place :: len(self.names)] for place in range(len(self.names))]

    def _column(self, place: int, texts: NDArray[np.float64] | Sequence[str]) -> NDArray[Any]:
        if isinstance(texts, np.ndarray):
            return texts
        if place in self.decimals:
            return column_of_texts([with_point(text) for text in texts])
        column = column_of_texts(texts)
        if self.undecided and column.dtype == object:
            pointed = with_points(texts)
            if pointed is not None:
                self.decimals |= {place}
                return column_of_texts(pointed)
        return column


def are_lines(rows: Sequence[CsvRow]) -> TypeGuard[Sequence[str]]:
    """Whether all rows are lines, none values."""
    return set(map(type, rows)) == {str}


def nul_places(rows: Sequence[CsvRow]) -> list[int]:
    """The indices of rows with NUL characters."""
    if are_lines(rows) and NUL not in "".join(rows):
        return []
    return [place for place, row in enumerate(rows) if NUL in (row if isinstance(row, str) else "".join(row))]
