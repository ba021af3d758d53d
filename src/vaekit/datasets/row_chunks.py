"""Rows of a table by columns, which is how large tables are read and converted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def chunk_of(rows: Sequence[Row]) -> RowChunk:
    """The values of rows with equal columns, by column."""
    columns = {name: [row.values.get(name) for row in rows] for name in (rows[0].values if rows else ())}
    return RowChunk([row.name for row in rows], {name: texts_array(values) for name, values in columns.items()})


def texts_array(values: Sequence[Any]) -> NDArray[np.object_]:
    """Texts as an array of objects; unlike `np.array`, not as an array of characters."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
