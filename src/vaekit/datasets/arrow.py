"""Data sets of Hugging Face `datasets` on the disk: what `save_to_disk` writes, and folders of Arrow or Parquet files.

The files are read with pyarrow, which `datasets` itself is built on; `datasets` need not be there.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.atomic import atomic_file
from vaekit.datasets.dataset import BytesRecord, RecordFormat, Splits
from vaekit.datasets.listing import Listed, digest_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.errors import BadItem, NoTrainingData, printable
from vaekit.optional import require
from vaekit.user_dirs import cache_folder

PARQUET, ARROW_FILE = b"PAR1", b"ARROW1"
SUFFIXES = frozenset({".parquet", ".arrow"})
COPY = 1
"""The form of the copies of Parquet files; another number has them made again."""


@dataclass(frozen=True, eq=False)
class ArrowItems:
    """Encoded items in one column of mapped files."""

    chunks: Sequence[Any]
    """Arrays of binary values; null where there is no item."""
    starts: NDArray[np.int64]
    """The number of the first item of each chunk."""
    count: int
    file: str
    digest: str
    wanted: RecordFormat
    kind = "dataset"

    def __len__(self) -> int:
        return self.count

    def key(self, item: int) -> str:
        return f"{self.file}[{item}]"

    def read(self, item: int) -> BytesRecord:
        content = self.content(item)
        return BytesRecord(self.key(item), content.size, lambda count: bytes(content[:count].to_pybytes()))

    def content(self, item: int) -> Any:
        """The bytes of an item, where they are in the file.

        Raises:
            BadItem: there are none.
        """
        chunk = int(np.searchsorted(self.starts, item, side="right")) - 1
        content = self.chunks[chunk][item - int(self.starts[chunk])].as_buffer()
        if not content:
            raise BadItem(
                f"{printable(self.key(item))} is empty, or only the name of a file.",
                expected(self.wanted),
                f"Save the data set with the {self.wanted.items} in it: dataset.save_to_disk(...).",
            )
        return content


def expected(wanted: RecordFormat) -> str:
    """The column that a file should have, for messages."""
    return f"Expected a column of encoded {wanted.items}, as datasets.{wanted.feature or 'Value'} makes it."


def dataset_of(paths: Sequence[Path], name: str, wanted: RecordFormat, say: Callable[[str], None]) -> ArrowItems:
    """The items in Arrow or Parquet files, in their order.

    Parquet cannot be read at any place: the items in it are copied to the user's cache, once.

    Args:
        paths: the files.
        name: of the data set, for messages.
        wanted: the column of items.
        say: told when something is copied.

    Raises:
        MissingPackage: pyarrow is not installed.
        NoTrainingData: a file is damaged, or has no column of items.
        CannotWrite: the disk has no room for the copy.
    """
    arrow = require("pyarrow", "read data sets", "datasets")
    chunks: list[Any] = []
    for path in paths:
        try:
            chunks += column(mapped(readable(path, wanted, say)), path, wanted)
        except (OSError, ValueError, LookupError, MemoryError, arrow.ArrowException) as error:
            raise NoTrainingData(
                f"{path} cannot be read: {printable(str(error))}.", expected(wanted), "Save it again."
            ) from error
    lengths = [len(chunk) for chunk in chunks]
    starts = np.cumsum([0, *lengths])
    digest = digest_of((path.name, path.stat().st_size) for path in paths)
    return ArrowItems(chunks, starts[:-1], int(starts[-1]), name, digest, wanted)


def mapped(path: Path) -> Any:
    """The table in an Arrow file, in either of the two forms; nothing of it is read yet.

    Only a compressed one, which `datasets` does not write, is unpacked into memory, all of it.
    """
    arrow, ipc = require("pyarrow", "read data sets", "datasets"), require("pyarrow.ipc", "read data sets", "datasets")
    source = arrow.memory_map(str(path))
    whole = source.read(len(ARROW_FILE)) == ARROW_FILE
    source.seek(0)
    return ipc.open_file(source).read_all() if whole else ipc.open_stream(source).read_all()


def column(table: Any, path: Path, wanted: RecordFormat) -> list[Any]:
    """The parts of the column that holds items, as binary values that are all inside the file.

    Raises:
        NoTrainingData: there is none.
        ArrowInvalid: the file is damaged.
    """
    fitting = [field.name for field in table.schema if encoded(field.type)]
    told = [name for name in declared(table.schema.metadata, wanted.feature) if name in fitting]
    name = next(iter([*told, *(name for name in wanted.columns if name in fitting), *fitting]), None)
    if name is None:
        have = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        raise NoTrainingData(
            f"{path} has the columns {printable(have, 300)}.",
            expected(wanted),
            f"Cast one of them to {wanted.feature}.",
        )
    return [sound(part) for part in table.column(table.schema.names.index(name)).chunks]


def sound(part: Any) -> Any:
    """The binary values in a part of a column. pyarrow believes where a file says that they begin and end, and would
    read whatever lies there in memory, or nothing, which ends the process: so all of it is checked once.

    Raises:
        ArrowInvalid: a value begins before the one ahead of it ends, or lies outside.
    """
    arrow = require("pyarrow", "read data sets", "datasets")
    part.validate()
    values = part.field("bytes") if arrow.types.is_struct(part.type) else part
    values.validate(full=True)
    return values


def encoded(kind: Any) -> bool:
    """Whether a column of this type may hold encoded items."""
    types = require("pyarrow", "read data sets", "datasets").types
    if types.is_struct(kind):
        return any(field.name == "bytes" and encoded(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def declared(metadata: dict[bytes, bytes] | None, feature: str) -> list[str]:
    """The columns that `datasets` declares to be of a type, such as "Image"."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, each in features.items() if each.get("_type") == feature]
    except (KeyError, ValueError, TypeError, AttributeError):
        return []


def readable(path: Path, wanted: RecordFormat, say: Callable[[str], None]) -> Path:
    """A file that can be mapped: this one, or for Parquet a copy of its binary columns in the user's cache."""
    with open(path, "rb") as file:
        if file.read(len(PARQUET)) != PARQUET:
            return path
    status, source = path.stat(), hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    state = hashlib.sha256(f"{COPY} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = cache_folder() / "arrow" / f"{source}-{state}.arrow"
    if copy.is_file():
        return copy
    say(
        f"The {wanted.items} of {path.name} are copied to {copy.parent}, once: Parquet files cannot be read at any "
        "place."
    )
    write_copy(path, copy)
    for other in copy.parent.glob(f"{source}-*.arrow"):
        if other != copy:  # of what the file was before
            other.unlink(missing_ok=True)
    return copy


def write_copy(path: Path, copy: Path) -> None:
    """Write the columns of a Parquet file that may hold items as a file that can be mapped.

    Raises:
        ValueError, LookupError, ArrowException, OSError: the Parquet file is damaged.
        CannotWrite: the disk has no room, or the like.
    """
    arrow, ipc = require("pyarrow", "read data sets", "datasets"), require("pyarrow.ipc", "read data sets", "datasets")
    parquet = require("pyarrow.parquet", "read data sets", "datasets")
    with parquet.ParquetFile(path, memory_map=True) as source, atomic_file(copy) as part:
        names = [field.name for field in source.schema_arrow if encoded(field.type)]
        schema = arrow.schema([source.schema_arrow.field(name) for name in names], source.schema_arrow.metadata)
        with arrow.OSFile(str(part), "wb") as sink, ipc.new_stream(sink, schema) as writer:
            for group in range(source.num_row_groups):
                try:
                    rows = source.read_row_group(group, columns=names)
                except OSError as error:  # which would pass for one of writing
                    raise ValueError(str(error)) from error
                writer.write_table(rows)


def gather_tables(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> ArrowItems:
    """The items in the Arrow and Parquet files of a folder."""
    return dataset_of([root / name for name, _ in files], title, wanted, log.say)


def open_table(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """The items in one Arrow or Parquet file."""
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
