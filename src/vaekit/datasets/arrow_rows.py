"""Rows of Parquet, Arrow and Feather files, and of data sets that `datasets` saved."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.arrow import ARROW_FILE, PARQUET, damage_refused, is_parquet, mapped
from vaekit.datasets.cell_objects import column_of_array, column_of_objects, stored_column, unsupported
from vaekit.datasets.column_rows import ColumnRows, ColumnTable
from vaekit.datasets.csv_format import checked_names
from vaekit.datasets.dataset import RecordFormat, Row, Splits
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.row_chunks import RowChunk, RowStream, index_names
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.datasets.source import Source
from vaekit.errors import NoTrainingData, printable
from vaekit.optional import require
from vaekit.reading import open_file, refuse_beyond_memory

SUFFIXES = frozenset({".parquet", ".arrow", ".feather"})
EXPECTED = "Expected a file of Parquet, Arrow or Feather with columns of numbers and texts."
PURPOSE = "read tables"
INDEX = re.compile(r"__index_level_\d+__")
"""Columns in which pandas keeps the index of a frame, which is none of its columns."""
CONTINUATION = b"\xff\xff\xff\xff"
"""The beginning of a file in Arrow's stream format."""


def is_table(path: Path, start: bytes) -> bool:
    """Whether a file with this beginning is Parquet or Arrow."""
    return start.startswith((PARQUET, ARROW_FILE, CONTINUATION)) or path.suffix.lower() in SUFFIXES


def arrow_array(column: Any, name: str, title: str) -> NDArray[Any]:
    """An Arrow array as an array that `column_of_array` can convert.

    Raises:
        NoTrainingData: its values cannot be cells.
        ArrowInvalid: it is damaged.
    """
    arrow = require("pyarrow", PURPOSE, "datasets")
    column.validate(full=True)
    kind, types = column.type, arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        return arrow_array(column.cast(kind.storage_type), name, title)
    if types.is_dictionary(kind):
        return column_of_objects(column.cast(kind.value_type).to_pylist(), name, title, categories=True)
    if (
        types.is_nested(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    ):
        raise unsupported(f"The column {printable(name)} of {title} has", f"the type {kind}")
    if types.is_integer(kind) and column.null_count:
        with suppress(arrow.ArrowInvalid):  # some are not exact in float64
            return np.asarray(column.cast(arrow.float64()).to_numpy(zero_copy_only=False))
        return column_of_objects(column.to_pylist(), name, title)
    if types.is_boolean(kind) or types.is_decimal(kind) or types.is_time(kind) or types.is_null(kind):
        return column_of_objects(column.to_pylist(), name, title)
    return stored_column(column.to_numpy(zero_copy_only=False), name, title)


def arrow_columns(table: Any, title: str) -> dict[str, NDArray[Any]]:
    """The columns of a table or batch."""
    return {
        name: arrow_array(table.column(place), name, title)
        for place, name in enumerate(table.schema.names)
        if not INDEX.fullmatch(name)
    }


def checked_columns(schema: Any, title: str) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        NoTrainingData: there are none or too many, or some are missing or not unique.
    """
    return checked_names([name for name in schema.names if not INDEX.fullmatch(name)], title)


def rows_of_arrow(table: Any, title: str) -> ColumnTable:
    """An Arrow table as rows.

    Raises:
        NoTrainingData: it has no columns, or some cannot be converted.
    """
    checked_columns(table.schema, title)
    return ColumnTable(title, arrow_columns(table, title), table.num_rows)


def read_table(path: Path, name: str) -> ColumnTable:
    """The rows of a file.

    Raises:
        NoTrainingData: it is damaged, does not fit into memory, or has columns of other types.
        MissingPackage: pyarrow is not installed.
    """
    with damage_refused(path, EXPECTED):
        if not is_parquet(path):
            return rows_of_arrow(mapped(path), name)
        with require("pyarrow.parquet", PURPOSE, "datasets").ParquetFile(path) as file:
            checked_columns(file.schema_arrow, name)
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
            refuse_beyond_memory(sum(group.total_byte_size for group in groups), path)
            return rows_of_arrow(file.read(), name)


def rows_of_files(
    paths: Sequence[Path], name: str, wanted: RecordFormat, say: Callable[[str], None] = silent
) -> ColumnRows:
    """The rows of files with equal columns, in order; see `arrow.dataset_of`.

    Raises:
        NoTrainingData: a file cannot be read, or the columns differ.
        MissingPackage: pyarrow is not installed.
    """
    del say
    tables = [read_table(path, path.name if len(paths) > 1 else name) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if set(table.columns) != set(tables[0].columns):
            raise NoTrainingData(
                f"{path} and {paths[0]} have different columns.", "", "Give one of them instead of the folder."
            )
    digest = digest_of((path.name, path.stat().st_size) for path in paths)
    return ColumnRows(tuple(tables[0].columns), tables, digest, partial(rows_of_files, tuple(paths), name, wanted))


def gather_rows(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> ColumnRows:
    """Open the files of a folder."""
    return rows_of_files([root / name for name, _ in files], title, wanted, log.say)


def open_rows(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file."""
    return Splits(rows_of_files([path], path.name, wanted, log.say))


class ArrowStream(RowStream):
    """The rows of a Parquet, Arrow or Feather file; see `RowStream`.

    Args:
        path: the file.

    Raises:
        NoTrainingData: it is damaged.
        MissingPackage: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done, self._share = 0, 0.0
        self._file = open_file(path)
        try:
            with damage_refused(path, EXPECTED):
                self._reader, schema, self._count = opened(self._file, is_parquet(path))
                self.columns = checked_columns(schema, path.name)
        except BaseException:
            self.close()
            raise

    @property
    def fraction(self) -> float:
        return self._share

    def chunks(self, rows: int) -> Iterator[RowChunk]:
        batches = self._reader(rows)
        while True:
            with damage_refused(self.path, EXPECTED):
                batch = next(batches, None)
                if batch is None:
                    break
                columns = {name: column_of_array(each) for name, each in arrow_columns(batch, self.path.name).items()}
            for start in range(0, batch.num_rows, rows):
                part = slice(start, start + rows)
                numbers = range(self._done, self._done + min(rows, batch.num_rows - start))
                self._done = numbers.stop
                self._share = self._done / self._count if self._count else self._file_share()
                yield RowChunk(
                    index_names(self.path.name, numbers), {name: each[part] for name, each in columns.items()}
                )
        self._share = 1.0

    def _file_share(self) -> float:
        """The share of bytes that were read, for files that do not announce the number of their rows."""
        size = self.path.stat().st_size
        return min(self._file.tell() / size, 1.0)

    def close(self) -> None:
        self._file.close()


def opened(file: Any, parquet: bool) -> tuple[Callable[[int], Iterator[Any]], Any, int]:
    """Open a file of Parquet or Arrow: a function that reads batches of at most a given number of rows, the schema, and
    the number of rows; 0 if it is unknown."""
    if parquet:
        table = require("pyarrow.parquet", PURPOSE, "datasets").ParquetFile(file)
        return (lambda rows: table.iter_batches(rows, use_threads=False)), table.schema_arrow, table.metadata.num_rows
    ipc = require("pyarrow.ipc", PURPOSE, "datasets")
    if file.peek(len(ARROW_FILE)).startswith(ARROW_FILE):
        blocks = ipc.open_file(file)
        return (lambda _: map(blocks.get_batch, range(blocks.num_record_batches))), blocks.schema, 0
    stream = ipc.open_stream(file)
    return (lambda _: iter(stream)), stream.schema, 0


ARROW_ROWS = Source(
    about="a folder of .parquet, .arrow or .feather files",
    yields=Row,
    claims=lambda path, start: not path.is_dir() and is_table(path, start),
    open=open_rows,
    plural="Parquet or Arrow tables",
    suffixes=lambda _: SUFFIXES,
    gather=gather_rows,
)
