"""Read the rows of npy and npz files in chunks."""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.array_files import UNREADABLE_ZIP, read_npz
from vaekit.datasets.array_labels import KIND
from vaekit.datasets.cell_objects import column_of_array
from vaekit.datasets.column_rows import named_columns
from vaekit.datasets.npz_rows import EXPECTED, npz_rows, read_header
from vaekit.datasets.row_arrays import ZIP, checked_columns
from vaekit.datasets.row_chunks import RowChunk, RowStream, index_names
from vaekit.datasets.skip_log import silent
from vaekit.errors import NoTrainingData, printable, reason_of
from vaekit.reading import open_file, refuse_beyond_memory


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
        inside = npz_rows(self.path)
        if inside.train is None:
            read_npz(self.path, EXPECTED)  # raises the error that names the arrays
        if inside.test is not None:
            self._say(f"{self.path} has the arrays {inside.train} and {inside.test}. Only {inside.train} is read.")
        packed = self._opened.enter_context(zipfile.ZipFile(self._file))
        self._file = self._opened.enter_context(packed.open(f"{inside.train}{KIND}"))
        return inside.columns

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
