"""Data sets: many records, each with a key, read one at a time. What a record means is up to a domain.

A container yields records of one type: `FileRecord` (a folder), `BytesRecord` (a tar, a column of an Arrow file),
`ArrayRecord` (npz, npy, idx), `Row` (CSV) or `Line` (text). A domain lists the types that it reads in a `RecordFormat`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray


@dataclass(frozen=True)
class FileRecord:
    """An item in a file of its own."""

    path: Path


@dataclass(frozen=True, eq=False)
class BytesRecord:
    """An item that is the content of a file, stored in another one."""

    name: str
    size: int
    """In bytes."""
    start: Callable[[int], bytes]
    """Returns the first n bytes. Raises BadItem where they cannot be read."""

    def content(self) -> bytes:
        """All bytes.

        Raises:
            BadItem: they cannot be read.
        """
        return self.start(self.size)


@dataclass(frozen=True, eq=False)
class ArrayRecord:
    """An item of an array."""

    name: str
    values: NDArray[Any]
    full_scale: float | None
    """The stored value of full intensity; None where the values need no scaling, or are 8-bit levels."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    values: Mapping[str, str]
    """Column to value, as text."""


@dataclass(frozen=True)
class Line:
    """A line of text, without its end."""

    name: str
    text: str


Record = FileRecord | BytesRecord | ArrayRecord | Row | Line


@runtime_checkable
class Dataset(Protocol):
    """Records, none of which is read before it is asked for. `read` may be called from several threads."""

    @property
    def kind(self) -> str:
        """The kind of container, in one word; part of the identity of a training run."""

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes, or over the content of small files."""

    def __len__(self) -> int:
        """The number of records."""

    def key(self, item: int) -> str:
        """The name of a record, for messages and for choosing subsets. Two records may have the same."""

    def read(self, item: int) -> Record:
        """A record.

        Raises:
            BadItem, NotFound: it cannot be read.
        """


@dataclass(frozen=True, eq=False)
class Splits:
    """The data at a path."""

    train: Dataset
    test: Dataset | None = None
    """What the authors of the data set apart; None where they did not."""


@dataclass(frozen=True)
class RecordFormat:
    """What a domain expects of containers."""

    items: str
    """Plural noun for messages: "images"."""
    records: tuple[type, ...]
    """The types of records that the domain reads."""
    suffixes: frozenset[str] = frozenset()
    """Of files that hold one item; lower case, with the dot."""
    columns: tuple[str, ...] = ()
    """Usual names of a column of encoded items, most likely first."""
    feature: str = ""
    """What `datasets` calls the type of such a column: "Image"."""
    arrange: Callable[[NDArray[Any], str], tuple[NDArray[Any], float | None]] | None = None
    """(array, file name) -> the array with items along the first axis in the domain's layout, and its full scale.
    Raises NoTrainingData for an array that holds no items."""
    array_shape: str = ""
    """The expected shape of arrays, as a sentence for messages."""
