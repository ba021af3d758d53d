"""Rows for lossless compression: the cells of columns whose values are on a grid, and texts of the others."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.codec.bits_back import Coding
from vaekit.codec.cells import MOST_CELLS
from vaekit.codec.column_coding import CodedColumn, ColumnCoding, cells_of, rows_of
from vaekit.codec.latent_cells import LatentGrid
from vaekit.datasets.dataset import Record, Row
from vaekit.domains.lossless import Restored
from vaekit.domains.tables.columns import DATE, NUMERIC, Column
from vaekit.domains.tables.csv_files import write_csv
from vaekit.domains.tables.schema import TableSchema
from vaekit.errors import BadItem
from vaekit.vae import VAE

WHOLE = "="
"""The first character of the remainder of a row that the VAE does not code."""


@dataclass(frozen=True)
class LosslessRows:
    """Rows with the columns of a schema, and perhaps others."""

    schema: TableSchema
    columns: tuple[CodedColumn, ...]
    """Those that are coded."""

    def coding(self, vae: VAE, grid: LatentGrid) -> Coding:
        return ColumnCoding(vae, grid, (vae.geometry.latent_channels,), self.columns, self.schema.width)

    def codable(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), bool(self.columns))

    def canonical(self, x: Tensor) -> Tensor:
        return rows_of(cells_of(x, self.columns), self.columns, self.schema.width)

    def values(self, x: Tensor) -> int:
        """Cells of the columns that are coded."""
        return len(x) * len(self.columns)

    def remainder(self, record: Record, item: Mapping[str, str] | None) -> bytes:
        """The texts of columns that are not coded, and of cells that have another text than their values."""
        if not isinstance(record, Row):
            raise BadItem(f"A {type(record).__name__} is no row of a table.", "", "Name a table, such as a CSV file.")
        if item is None:
            return (WHOLE + _json(record.values)).encode()
        other = {name: text for name, text in record.values.items() if item.get(name) != text}
        return _json(other).encode() if other else b""

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """A CSV file: the columns of the schema in the order of the training data, then others."""
        rows = [row_of(each) for each in items]
        own = [column.name for column in self.schema.columns]
        names = list(dict.fromkeys([*own, *(name for row in rows for name in row)]))
        write_csv(out, [names, *([row.get(name, "") for name in names] for row in rows)])
        return [out]


def row_of(restored: Restored) -> dict[str, str]:
    """The cells of a row.

    Raises:
        ValueError: its remainder is not as it was written.
    """
    text = restored.remainder.decode()
    whole = text.startswith(WHOLE)
    if restored.item is None and not whole:
        raise ValueError("the cells of a row are missing")
    found = json.loads(text[whole:]) if text else {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("the cells of a row are not as expected")
    return found if whole else {**restored.item, **found}


def coded_columns(schema: TableSchema) -> tuple[CodedColumn, ...]:
    """The columns of a schema whose values are on a grid of at most `MOST_CELLS`, or categories."""
    found, start = [], 0
    for column in schema.ordered:
        coded = _coded(column, start)
        found += [] if coded is None else [coded]
        start += column.width
    return tuple(found)


def _coded(column: Column, start: int) -> CodedColumn | None:
    if column.kind not in NUMERIC:
        cells = max(2, column.width) if column.width > 1 or len(column.values) == 2 else 1
        return CodedColumn(start, column.width, cells, None)
    step = column.step or (0.0 if column.decimals is None or column.kind == DATE else 10.0**-column.decimals)
    if not step or not np.isfinite(column.high - column.low):
        return None
    cells = round((column.high - column.low) / step) + 1
    return CodedColumn(start, 1, cells, partial(edges, column, step)) if cells <= MOST_CELLS else None


def edges(column: Column, step: float, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of numbers low + k step, which may be between those of cells."""
    return (column.transform(column.low + numbers * step) - column.center) / column.scale


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
