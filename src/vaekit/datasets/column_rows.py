"""Rows of tables that are stored by columns."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from numpy.typing import NDArray

from vaekit.datasets.cell_objects import column_of_array
from vaekit.datasets.cell_texts import cell_text
from vaekit.datasets.dataset import Labelled, Row, reopened
from vaekit.datasets.label_columns import label_text, name_columns
from vaekit.datasets.row_chunks import RowChunk, index_names, joined


@dataclass(frozen=True, eq=False)
class ColumnTable:
    """One table."""

    name: str
    """In keys of rows."""
    columns: Mapping[str, NDArray[Any]]
    """Arrays that `column_of_array` can convert; in memory, or memory-mapped."""
    count: int
    """The number of rows."""


@dataclass(frozen=True, eq=False)
class ColumnRows:
    """The rows of one or more tables with equal columns."""

    columns: tuple[str, ...]
    tables: Sequence[ColumnTable]
    digest: str
    reopen: "Callable[[], ColumnRows] | None" = None
    """Opens the files again, for pickling; None for tables in memory."""
    beside: Labelled | None = None
    """Labels beside the rows."""
    kind = "table"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the paths of files, not their content."""
        return super().__reduce_ex__(protocol) if self.reopen is None else (reopened, (self.reopen, self.digest))

    @cached_property
    def starts(self) -> list[int]:
        """The index of the first row of each table, and the number of all rows."""
        return list(accumulate((table.count for table in self.tables), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def key(self, item: int) -> str:
        table, row = self._located(item)
        return f"{table.name}[{row}]"

    def read(self, item: int) -> Row:
        table, row = self._located(item)
        return Row(self.key(item), {name: text_at(table.columns[name], row) for name in self.columns})

    def chunk(self, start: int, stop: int) -> RowChunk:
        chunks: list[RowChunk] = []
        for table, first in zip(self.tables, self.starts, strict=False):
            part = range(table.count)[max(start - first, 0) : max(stop - first, 0)]
            if len(part):
                places = slice(part.start, part.stop)
                columns = {name: column_of_array(table.columns[name][places]) for name in self.columns}
                chunks.append(RowChunk(index_names(table.name, part), columns))
        return joined(chunks, self.columns)

    def label_names(self) -> Sequence[str]:
        beside = [] if self.beside is None else self.beside.label_names()
        return list(dict.fromkeys([*self.columns, *beside, *self._name_columns()]))

    def labels(self, name: str) -> Sequence[str | None]:
        if name in self.columns:
            columns = [column_of_array(table.columns[name]) for table in self.tables]
            return [label_text(cell_text(cell)) for column in columns for cell in column.tolist()]
        if self.beside is not None and name in self.beside.label_names():
            return self.beside.labels(name)
        return self._name_columns()[name]

    def _name_columns(self) -> dict[str, list[str | None]]:
        return name_columns([table.name for table in self.tables for _ in range(table.count)], contents=True)

    def _located(self, item: int) -> tuple[ColumnTable, int]:
        """A row's table, and its index there."""
        table = bisect_right(self.starts, item) - 1
        return self.tables[table], item - self.starts[table]


def text_at(column: NDArray[Any], row: int) -> str:
    """A cell as text."""
    if column.dtype.kind in "fiu":
        return cell_text(column[row].item())
    return cell_text(column_of_array(column[row : row + 1])[0])


def named_columns(values: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns of an array of rows, as views: (n, columns), or (n,) with named fields."""
    if values.dtype.names is not None:
        return {name: values[name] for name in values.dtype.names}
    return {name: values[:, place] for place, name in enumerate(names)}


def default_names(count: int) -> tuple[str, ...]:
    """The names of columns without names.

    >>> default_names(2)
    ('x0', 'x1')
    """
    return tuple(f"x{place}" for place in range(count))
