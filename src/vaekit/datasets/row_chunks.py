"""Rows of a table by columns, which is how large tables are read and converted."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, overload, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import cell_text
from vaekit.datasets.dataset import Row


@dataclass(frozen=True, eq=False)
class RowChunk:
    """Consecutive rows of a table, by columns."""

    names: Sequence[str]
    """Of each row, for messages: file and line."""
    columns: Mapping[str, NDArray[Any]]
    """For each column, an array with one value per row: float64, with NaN for missing values; or objects, strings or
    None."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Reasons, by position, for rows that cannot be read. Their values are missing."""

    def __len__(self) -> int:
        return len(self.names)


@runtime_checkable
class Chunked(Protocol):
    """A data set of rows that can be read by columns."""

    def chunk(self, start: int, stop: int) -> RowChunk:
        """The rows from `start` to `stop` (exclusive). Rows that cannot be read have problems, and raise nothing."""


@dataclass(frozen=True)
class NumberedNames(Sequence[str]):
    """Names of rows that consist of the name of a file and a number, made when they are needed.

    >>> list(NumberedNames("t.csv:{}", range(2, 4)))
    ['t.csv:2', 't.csv:3']
    """

    pattern: str
    """With {} in place of the number; braces of file names are doubled."""
    numbers: Sequence[int] | NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, item: int) -> str: ...
    @overload
    def __getitem__(self, item: slice) -> "NumberedNames": ...
    def __getitem__(self, item: int | slice) -> "str | NumberedNames":
        if isinstance(item, slice):
            return NumberedNames(self.pattern, self.numbers[item])
        return self.pattern.format(self.numbers[item])

    def __iter__(self) -> Iterator[str]:
        return map(self.pattern.format, self.numbers)


def line_names(file: str, lines: Sequence[int] | NDArray[np.int64]) -> NumberedNames:
    """The names of rows of a text file, by line."""
    return NumberedNames(f"{escaped(file)}:{{}}", lines)


def index_names(file: str, indices: Sequence[int]) -> NumberedNames:
    """The names of rows of other tables, by index."""
    return NumberedNames(f"{escaped(file)}[{{}}]", indices)


def escaped(text: str) -> str:
    """Text in a pattern of `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def chunk_of(rows: Sequence[Row]) -> RowChunk:
    """The values of rows with equal columns, by column."""
    columns = {name: [row.values.get(name) for row in rows] for name in (rows[0].values if rows else ())}
    return RowChunk([row.name for row in rows], {name: texts_array(values) for name, values in columns.items()})


def texts_array(values: Sequence[Any]) -> NDArray[np.object_]:
    """Texts as an array of objects; unlike `np.array`, not as an array of characters."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def joined(chunks: Sequence[RowChunk], columns: Sequence[str]) -> RowChunk:
    """Chunks with these columns as one. Columns of numbers in some of them and of texts in others become texts."""
    if len(chunks) == 1:
        return chunks[0]
    names = [name for chunk in chunks for name in chunk.names]
    starts = np.cumsum([0, *map(len, chunks)]).tolist()
    problems = {
        start + at: why for start, chunk in zip(starts, chunks, strict=False) for at, why in chunk.problems.items()
    }
    return RowChunk(names, {name: joined_column([each.columns[name] for each in chunks]) for name in columns}, problems)


def joined_column(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Parts of a column as one."""
    if not parts:
        return np.empty(0, np.float64)
    if all(part.dtype != object for part in parts):
        return np.concatenate(parts)
    return np.concatenate([part if part.dtype == object else as_texts(part) for part in parts])


def as_texts(numbers: NDArray[Any]) -> NDArray[np.object_]:
    """Numbers as texts; None for missing ones."""
    return texts_array([cell_text(value) or None for value in numbers.tolist()])


def spread(column: NDArray[Any], places: NDArray[np.intp], count: int) -> NDArray[Any]:
    """A column of `count` rows with values at some places, and missing ones at the others."""
    if len(column) == count:
        return column
    whole = np.full(count, None if column.dtype == object else np.nan, column.dtype)
    whole[places] = column
    return whole


class RowStream(ABC):
    """A table that is read once, in flat memory; a context manager that closes the file."""

    columns: tuple[str, ...]

    @property
    @abstractmethod
    def fraction(self) -> float:
        """The share of the table that has been read, from 0 to 1."""

    @abstractmethod
    def chunks(self, rows: int) -> Iterator[RowChunk]:
        """The rows in order, in chunks of at most `rows` rows. Rows that cannot be read stay in place, with a problem.
        A column may hold numbers in one chunk and texts in the next one.

        Raises:
            NoTrainingData: the file is damaged from here on.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
