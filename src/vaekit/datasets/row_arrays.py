"""Rows in arrays of NumPy: npy and npz files with an array (n, columns)."""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.array_files import UNREADABLE_ZIP, array_in, item_names, read_npy, read_npz
from vaekit.datasets.array_labels import KIND, NpzLabels
from vaekit.datasets.cell_objects import column_of_array, is_convertible
from vaekit.datasets.column_rows import ColumnRows, ColumnTable, default_names, named_columns
from vaekit.datasets.csv_format import checked_names
from vaekit.datasets.dataset import Labelled, RecordFormat, Row, Splits
from vaekit.datasets.listing import digest_of
from vaekit.datasets.row_chunks import RowChunk, RowStream, index_names
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.datasets.source import Source, for_tests
from vaekit.errors import NoTrainingData, printable, reason_of
from vaekit.reading import open_file, refuse_beyond_memory

NPY, ZIP = b"\x93NUMPY", b"PK"
SUFFIXES = frozenset({".npy", ".npz"})
EXPECTED = "Expected an array of rows: (n, columns), of numbers, booleans or texts."
HEADERS = ("columns", "feature_names")
"""The names of arrays with the names of columns in npz files."""


@dataclass(frozen=True)
class RowLabels(NpzLabels):
    """The arrays of labels beside the rows of an npz file."""

    def label_names(self) -> Sequence[str]:
        return [name for name in super().label_names() if name.lower() not in HEADERS]


def is_array(path: Path, start: bytes) -> bool:
    """Whether a file with this beginning is an npy or npz file."""
    del path
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
    return ColumnRows(columns, [ColumnTable(title, named_columns(values, columns), len(values))], digest, None, beside)


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


def header_of(path: Path) -> list[str] | None:
    """The names of the columns in an npz file; None if there are none.

    Raises:
        NoTrainingData: they cannot be read.
    """
    try:
        with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
            name = next((name for name in file.files if name.lower() in HEADERS), None)
            if name is None:
                return None
            values = array_in(file, name, path, EXPECTED).reshape(-1).tolist()
    except UNREADABLE_ZIP as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", EXPECTED, "Save it again.") from error
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


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
    train, test = read_npz(path, EXPECTED)
    names = header_of(path)
    return Splits(
        rows_of_array(train, names, path.name, RowLabels(path, of_test=False)),
        None if test is None else rows_of_array(test, names, for_tests(path.name), RowLabels(path, of_test=True)),
    )


class ArrayStream(RowStream):
    """The rows of an npy file, or of the training items of an npz file; see `RowStream`.

    Args:
        path: the file.
        say: called with a message if it has test items, too.

    Raises:
        NoTrainingData: it is damaged, or not an array of rows.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = silent) -> None:
        self.path, self._say = path, say
        self._done = 0
        self._opened = ExitStack()
        file = self._opened.enter_context(open_file(path))
        self._file: IO[bytes] = file
        self._zipped = file.peek(len(ZIP)).startswith(ZIP)
        try:
            names = self._enter_zip() if self._zipped else None
            shape, self._by_columns, self._dtype = read_header(self._file)
            self.columns = checked_columns(shape, self._dtype, names, path.name)
            self._count, self._row_shape = shape[0], shape[1:]
            self._start = self._file.tell()
        except UNREADABLE_ZIP as error:
            self.close()
            raise self._damaged(reason_of(error)) from error
        except BaseException:
            self.close()
            raise

    def _enter_zip(self) -> Sequence[str] | None:
        """Open the array of items in an npz file; returns the names of columns."""
        packed = self._opened.enter_context(zipfile.ZipFile(self._file))
        names = [name.removesuffix(KIND) for name in packed.namelist() if name.endswith(KIND)]
        train, test = item_names(names)
        if test is not None:
            self._say(f"{self.path} contains {printable(str(train))} and {printable(test)}. Only {train} is read.")
        if train is None:
            read_npz(self.path, EXPECTED)  # raises the error that names the arrays
        self._file = self._opened.enter_context(packed.open(f"{train}{KIND}"))
        return header_of(self.path)

    @property
    def fraction(self) -> float:
        return self._done / self._count if self._count else 1.0

    def chunks(self, rows: int) -> Iterator[RowChunk]:
        whole = self._whole() if self._by_columns and self._zipped else None
        for start in range(0, self._count, rows):
            part = range(start, min(start + rows, self._count))
            try:
                values = self._read(part) if whole is None else whole[part.start : part.stop]
            except UNREADABLE_ZIP as error:
                raise self._damaged(reason_of(error)) from error
            self._done = part.stop
            columns = named_columns(values, self.columns)
            yield RowChunk(
                index_names(self.path.name, part), {name: column_of_array(each) for name, each in columns.items()}
            )

    def _read(self, part: range) -> NDArray[Any]:
        """Rows of the file."""
        if not self._by_columns:
            return self._values(len(part) * math.prod(self._row_shape)).reshape(len(part), *self._row_shape)
        columns = []
        for place in range(self._row_shape[0]):
            self._file.seek(self._start + (place * self._count + part.start) * self._dtype.itemsize)
            columns.append(self._values(len(part)))
        return np.stack(columns, axis=1)

    def _whole(self) -> NDArray[Any]:
        """All values of a compressed array that is stored by columns."""
        size = self._count * math.prod(self._row_shape)
        refuse_beyond_memory(size * self._dtype.itemsize, self.path)
        return self._values(size).reshape(*self._row_shape, self._count).T

    def _values(self, count: int) -> NDArray[Any]:
        size = count * self._dtype.itemsize
        content = self._file.read(size)
        if len(content) < size:
            raise self._damaged("it ends before its last row")
        return np.frombuffer(content, self._dtype, count)

    def _damaged(self, reason: str) -> NoTrainingData:
        return NoTrainingData(f"{self.path} cannot be read: {printable(reason)}.", EXPECTED, "Save it again.")

    def close(self) -> None:
        self._opened.close()


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The header of an npy file: shape, whether it is stored by columns, and type.

    Raises:
        ValueError, OSError: it is damaged.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


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
