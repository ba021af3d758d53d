"""Rows in arrays of NumPy: npy and npz files with an array (n, columns)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.array_files import read_npy, read_npz
from vaekit.datasets.cell_objects import is_convertible
from vaekit.datasets.column_rows import ColumnRows, ColumnTable, default_names, named_columns
from vaekit.datasets.csv_format import checked_names
from vaekit.datasets.dataset import Labelled, RecordFormat, Row, Splits
from vaekit.datasets.listing import digest_of
from vaekit.datasets.npz_rows import EXPECTED, RowLabels, npz_rows
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source, for_tests
from vaekit.errors import NoTrainingData

NPY, ZIP = b"\x93NUMPY", b"PK"
SUFFIXES = frozenset({".npy", ".npz"})


def is_array(start: bytes) -> bool:
    """Whether a file with this beginning is an npy or npz file."""
    return start.startswith((NPY, ZIP))


def rows_of_array(
    values: NDArray[Any], names: Sequence[str] | None, title: str, beside: Labelled | None = None
) -> ColumnRows:
    """An array as rows.

    Raises:
        NoTrainingData: it is not an array of rows, or has another number of columns than names.
    """
    columns = checked_columns(values.shape, values.dtype, names, title)
    digest = digest_of([(f"{title} {values.shape} {values.dtype.str} {' '.join(columns)}", values.nbytes)])
    table = ColumnTable(title, named_columns(np.asarray(values), columns), len(values))
    return ColumnRows(columns, [table], digest, beside=beside)


def checked_columns(
    shape: Sequence[int], dtype: np.dtype[Any], names: Sequence[str] | None, title: str
) -> tuple[str, ...]:
    """The names of the columns of an array.

    Raises:
        NoTrainingData: it is not an array of rows, or has another number of columns than names.
    """
    if dtype.names is not None:
        types, count, fits = [dtype[name] for name in dtype.names], len(dtype.names), len(shape) == 1
        names = dtype.names
    else:
        types, fits = [dtype], len(shape) == 2
        count = shape[1] if fits else 0
    if not fits or not all(map(is_convertible, types)):
        raise NoTrainingData(
            f"The array in {title} has the shape {tuple(shape)} and the type {dtype}.", EXPECTED, "Save such an array."
        )
    if names is not None and len(names) != count:
        raise NoTrainingData(
            f"The array in {title} has {count:,} columns, and there are {len(names):,} names of columns.",
            "Expected one name for each column.",
            "Save them again.",
        )
    return checked_names(default_names(count) if names is None else names, title)


def mapped_rows(path: Path) -> ColumnRows:
    """The rows of a memory-mapped npy file.

    Raises:
        NoTrainingData: it is damaged, or not an array of rows.
    """
    rows = rows_of_array(read_npy(path, EXPECTED), None, path.name)
    return ColumnRows(rows.columns, rows.tables, rows.digest, partial(mapped_rows, path))


def open_npy(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npy file."""
    del wanted, log
    return Splits(mapped_rows(path))


def open_npz(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open an npz file."""
    del wanted, log
    inside = npz_rows(path)
    train, test = read_npz(path, EXPECTED, None if inside.train is None else (inside.train, inside.test))
    labels = [RowLabels(path, of_test=of_test, rows=inside) for of_test in (False, True)]
    return Splits(
        rows_of_array(train, inside.columns, path.name, labels[0]),
        None if test is None else rows_of_array(test, inside.columns, for_tests(path.name), labels[1]),
    )


NPY_ROWS = Source(
    about="an .npy array of rows",
    yields=Row,
    claims=lambda _, start: start.startswith(NPY),
    open=open_npy,
    suffixes=lambda _: frozenset({".npy"}),
    plural="arrays",
)
NPZ_ROWS = Source(
    about="an .npz file with an array of rows",
    yields=Row,
    claims=lambda _, start: start.startswith(ZIP),
    open=open_npz,
    suffixes=lambda _: frozenset({".npz"}),
    plural="arrays",
)
