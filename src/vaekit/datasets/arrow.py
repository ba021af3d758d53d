"""Data sets of Hugging Face `datasets` on disk: the output of `save_to_disk`, and Arrow and Parquet files.

The files are read with pyarrow, on which `datasets` is built; `datasets` itself is not needed.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.atomic import atomic_file
from vaekit.datasets.dataset import BytesRecord, RecordFormat, Splits, reopened
from vaekit.datasets.label_columns import label_texts
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.errors import BadItem, NoTrainingData, printable
from vaekit.optional import require
from vaekit.reading import open_file, real_path, refuse_beyond_memory
from vaekit.user_dirs import cache_folder

PARQUET, ARROW_FILE = b"PAR1", b"ARROW1"
SUFFIXES = frozenset({".parquet", ".arrow"})
EXPECTED_LABELS = "Expected a file of Arrow or Parquet with labels."
COPY = 1
"""The version of copies of Parquet files; copies of other versions are replaced."""


@dataclass(frozen=True, eq=False)
class ArrowItems:
    """Encoded items in one column of memory-mapped files."""

    chunks: Sequence[Any]
    """Arrays of binary values; null for a missing item."""
    starts: NDArray[np.int64]
    """The index of the first item of each chunk."""
    count: int
    file: str
    """The name of the data set, for messages."""
    digest: str
    wanted: RecordFormat
    paths: Sequence[Path]
    kind = "dataset"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the paths, not the content of the files."""
        return reopened, (partial(dataset_of, self.paths, self.file, self.wanted), self.digest)

    def __len__(self) -> int:
        return self.count

    def key(self, item: int) -> str:
        return f"{self.file}[{item}]"

    def read(self, item: int) -> BytesRecord:
        content = self.content(item)
        return BytesRecord(self.key(item), content.size, lambda count: bytes(content[:count].to_pybytes()))

    def content(self, item: int) -> Any:
        """The bytes of an item, as a view of the mapped file.

        Raises:
            BadItem: the item is null or empty.
        """
        chunk = int(np.searchsorted(self.starts, item, side="right")) - 1
        content = self.chunks[chunk][item - int(self.starts[chunk])].as_buffer()
        if not content:
            raise BadItem(
                f"{printable(self.key(item))} is empty, or only a file name.",
                expected(self.wanted),
                f"Save the data set with its {self.wanted.items} embedded: dataset.save_to_disk(...).",
            )
        return content

    def label_names(self) -> Sequence[str]:
        return label_columns(self.paths)

    def labels(self, name: str) -> Sequence[str | None]:
        return [label for path in self.paths for label in labels_in(path, name)]


@contextmanager
def damage_refused(path: Path, sought: str) -> Iterator[None]:
    """Convert errors of reading a file.

    Raises:
        NoTrainingData: it is damaged.
    """
    arrow = require("pyarrow", "read data sets", "datasets")
    try:
        yield
    except (OSError, ValueError, LookupError, MemoryError, arrow.ArrowException) as error:
        raise NoTrainingData(f"{path} cannot be read: {printable(str(error))}.", sought, "Save it again.") from error


def expected(wanted: RecordFormat) -> str:
    """The expected column, for messages."""
    return f"Expected a column of encoded {wanted.items}, of type datasets.{wanted.feature or 'Value'}."


def dataset_of(
    paths: Sequence[Path], name: str, wanted: RecordFormat, say: Callable[[str], None] = lambda _: None
) -> ArrowItems:
    """The items in Arrow or Parquet files, in order.

    Parquet files have no random access: their items are copied to the user's cache once.

    Args:
        paths: the files.
        name: of the data set, for messages.
        wanted: the column of items.
        say: called with a message when a file is copied.

    Raises:
        MissingPackage: pyarrow is not installed.
        NoTrainingData: a file is damaged, or has no column of items.
        CannotWrite: the copy cannot be written, e.g. because the disk is full.
    """
    chunks: list[Any] = []
    for path in paths:
        with damage_refused(path, expected(wanted)):
            chunks += column(mapped(readable(path, wanted, say)), path, wanted)
    lengths = [len(chunk) for chunk in chunks]
    starts = np.cumsum([0, *lengths])
    digest = digest_of((path.name, path.stat().st_size) for path in paths)
    return ArrowItems(chunks, starts[:-1], int(starts[-1]), name, digest, wanted, tuple(paths))


def mapped(path: Path) -> Any:
    """Memory-map the table in an Arrow file, in the file or the stream format.

    Compressed tables, which `datasets` does not write, are decompressed into memory.
    """
    arrow, ipc = require("pyarrow", "read data sets", "datasets"), require("pyarrow.ipc", "read data sets", "datasets")
    source = arrow.memory_map(str(path))
    is_file_format = source.read(len(ARROW_FILE)) == ARROW_FILE
    source.seek(0)
    return ipc.open_file(source).read_all() if is_file_format else ipc.open_stream(source).read_all()


def column(table: Any, path: Path, wanted: RecordFormat) -> list[Any]:
    """The chunks of the column of items, as validated binary values.

    Raises:
        NoTrainingData: no column can hold items.
        ArrowInvalid: the file is damaged.
    """
    binary = [field.name for field in table.schema if encoded(field.type)]
    typed = [name for name in declared(table.schema.metadata, wanted.feature) if name in binary]
    name = next(iter([*typed, *(name for name in wanted.columns if name in binary), *binary]), None)
    if name is None:
        columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        raise NoTrainingData(
            f"{path} has the columns {printable(columns, 300)}.",
            expected(wanted),
            f"Cast one of them to {wanted.feature}.",
        )
    return [validated(chunk) for chunk in table.column(table.schema.names.index(name)).chunks]


def validated(chunk: Any) -> Any:
    """The binary values in a chunk of a column, with all offsets checked: pyarrow trusts the offsets of a file, and
    would read outside the file, or crash.

    Raises:
        ArrowInvalid: the offsets decrease, or lie outside the file.
    """
    arrow = require("pyarrow", "read data sets", "datasets")
    chunk.validate()
    values = chunk.field("bytes") if arrow.types.is_struct(chunk.type) else chunk
    values.validate(full=True)
    return values


def encoded(kind: Any) -> bool:
    """Whether a column of this type can hold encoded items."""
    types = require("pyarrow", "read data sets", "datasets").types
    if types.is_struct(kind):
        return any(field.name == "bytes" and encoded(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def declared(metadata: dict[bytes, bytes] | None, feature: str) -> list[str]:
    """The columns with a feature type of `datasets`, such as "Image", according to its metadata."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, each in features.items() if each.get("_type") == feature]
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return []


def readable(path: Path, wanted: RecordFormat, say: Callable[[str], None]) -> Path:
    """A file that can be memory-mapped: this one, or for Parquet a copy of its binary columns in the user's cache."""
    if not is_parquet(path):
        return path
    status, source = path.stat(), hashlib.sha256(os.fsencode(real_path(path))).hexdigest()[:32]
    state = hashlib.sha256(f"{COPY} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = cache_folder() / "arrow" / f"{source}-{state}.arrow"
    if copy.is_file():
        return copy
    say(f"Copying the {wanted.items} of {path.name} to {copy.parent}, once: Parquet files have no random access.")
    write_copy(path, copy)
    for other in copy.parent.glob(f"{source}-*.arrow"):
        if other != copy:  # of earlier versions of the file
            other.unlink(missing_ok=True)
    return copy


def write_copy(path: Path, copy: Path) -> None:
    """Write the binary columns of a Parquet file as an Arrow file.

    Raises:
        ValueError, LookupError, ArrowException, OSError: the Parquet file is damaged.
        CannotWrite: the copy cannot be written, e.g. because the disk is full.
    """
    arrow, ipc = require("pyarrow", "read data sets", "datasets"), require("pyarrow.ipc", "read data sets", "datasets")
    parquet = require("pyarrow.parquet", "read data sets", "datasets")
    with parquet.ParquetFile(path, memory_map=True) as source, atomic_file(copy) as part:
        names = [field.name for field in source.schema_arrow if encoded(field.type)]
        schema = arrow.schema([source.schema_arrow.field(name) for name in names], source.schema_arrow.metadata)
        with arrow.OSFile(str(part), "wb") as sink, ipc.new_stream(sink, schema) as writer:
            for group in range(source.num_row_groups):
                refuse_beyond_memory(source.metadata.row_group(group).total_byte_size, path)
                try:
                    rows = source.read_row_group(group, columns=names)
                except OSError as error:  # not to be mistaken for an error of writing
                    raise ValueError(str(error)) from error
                writer.write_table(rows)


def label_columns(paths: Sequence[Path]) -> list[str]:
    """The columns with labels that all of the files have.

    Raises:
        NoTrainingData: a file is damaged.
    """
    names: dict[str, None] | None = None
    for path in paths:
        with damage_refused(path, EXPECTED_LABELS):
            found = dict.fromkeys(field.name for field in schema_of(path) if is_label(field.type))
        names = found if names is None else {name: None for name in names if name in found}
    return list(names or ())


def labels_in(path: Path, name: str) -> list[str | None]:
    """The labels in a column of one file. Numbers of classes become their names, where the file has them.

    Raises:
        NoTrainingData: the file is damaged.
    """
    with damage_refused(path, EXPECTED_LABELS):
        schema = schema_of(path)
        values = column_of(path, schema, name)
        values.validate(full=True)
        classes = class_names(schema.metadata, name)
        return label_texts([named(value, classes) for value in values.to_pylist()])


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet rather than Arrow."""
    with open_file(path) as file:
        return file.read(len(PARQUET)) == PARQUET


def schema_of(path: Path) -> Any:
    """The columns of a file."""
    if is_parquet(path):
        return require("pyarrow.parquet", "read data sets", "datasets").read_schema(path)
    return mapped(path).schema


def column_of(path: Path, schema: Any, name: str) -> Any:
    """A column of a file; of several with this name the first."""
    place = schema.names.index(name)
    if not is_parquet(path):
        return mapped(path).column(place)
    with require("pyarrow.parquet", "read data sets", "datasets").ParquetFile(path) as file:
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        refuse_beyond_memory(sum(group.total_byte_size for group in groups), path)
        return file.read(columns=[name]).column(0)


def is_label(kind: Any) -> bool:
    """Whether a column of this type can hold labels."""
    types = require("pyarrow", "read data sets", "datasets").types
    if types.is_dictionary(kind):
        return is_label(kind.value_type)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string)
    return any(test(kind) for test in tests)


def class_names(metadata: dict[bytes, bytes] | None, column: str) -> list[str]:
    """The names of the classes of a column of type `datasets.ClassLabel`; empty for other columns."""
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        return [str(name) for name in names]
    except (KeyError, ValueError, TypeError):
        return []


def named(value: Any, classes: Sequence[str]) -> Any:
    """The name of a class with this number; other values stay."""
    return classes[value] if isinstance(value, int) and 0 <= value < len(classes) else value


def gather_tables(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> ArrowItems:
    """Open the Arrow and Parquet files of a folder."""
    return dataset_of([root / name for name, _ in files], title, wanted, log.say)


def open_table(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one Arrow or Parquet file."""
    return Splits(dataset_of([path], path.name, wanted, log.say))


TABLES = Source(
    about="a folder of .parquet or .arrow files",
    yields=BytesRecord,
    claims=lambda path, start: (
        not path.is_dir() and (start.startswith((PARQUET, ARROW_FILE)) or path.suffix == ".arrow")
    ),
    open=open_table,
    plural="tables",
    suffixes=lambda _: SUFFIXES,
    gather=gather_tables,
)
