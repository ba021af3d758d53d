"""Data sets: sequences of records with keys, which are read one at a time. Domains interpret the records.

A container has records of one type: `FileRecord` (a folder), `BytesRecord` (a tar, a column of an Arrow file),
`ArrayRecord` (npz, npy, idx), `Row` (CSV, Parquet, Arrow, npz, npy), `Line` (text), `TextRow` (a table with a column of
text), `NamedLine` (smi), `Block` (SD files) or `Parsed` (a domain's own reader). Some can be read as several types. A
domain lists those that it reads in a `RecordFormat`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from numpy.typing import NDArray

from vaekit.errors import NoTrainingData, printable


@dataclass(frozen=True)
class FileRecord:
    """An item in a file of its own."""

    path: Path


@dataclass(frozen=True, eq=False)
class BytesRecord:
    """The content of a file that is stored inside another one."""

    name: str
    size: int
    """In bytes."""
    start: Callable[[int], bytes]
    """Returns the first n bytes. Raises BadItem if they cannot be read."""

    def content(self) -> bytes:
        """All bytes.

        Raises:
            BadItem: they cannot be read.
        """
        return self.start(self.size)


@dataclass(frozen=True, eq=False)
class ArrayRecord:
    """An item of an array of items."""

    name: str
    values: NDArray[Any]
    full_scale: float | None
    """The value of full intensity; None if values need no scaling, or are 8-bit levels."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    values: Mapping[str, str]
    """Values as text, by column."""


@dataclass(frozen=True)
class Line:
    """A line of text, without line terminator."""

    name: str
    text: str


@dataclass(frozen=True)
class NamedLine(Line):
    """A line with an item, perhaps followed by white space and the name of the item."""


@dataclass(frozen=True)
class Block:
    """Several lines of text that are one item of a file of many."""

    name: str
    text: str


@dataclass(frozen=True)
class TextRow:
    """A row of a table with a column of text, such as sentences and their labels."""

    name: str
    values: Mapping[str, str]
    """Values as text, by column."""
    column: str | None
    """The column of text, as far as it follows from the names and values of the table."""


@dataclass(frozen=True)
class Parsed:
    """An item, or what items are cut from, that a domain has read from its file with a reader of its own."""

    name: str
    item: Any
    """As the domain has it."""


Record = FileRecord | BytesRecord | ArrayRecord | Row | Line | Block | TextRow | Parsed


@runtime_checkable
class Dataset(Protocol):
    """Records that are read on demand. Thread-safe, and picklable: records in files are not copied."""

    @property
    def kind(self) -> str:
        """The kind of container, in one word; part of the identity of a training run."""

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes, or over the content of small files."""

    def __len__(self) -> int:
        """The number of records."""

    def key(self, item: int) -> str:
        """The name of a record, for messages and for choosing subsets. Not necessarily unique."""

    def read(self, item: int) -> Record:
        """Read a record.

        Raises:
            BadItem, NotFound: it cannot be read.
        """


@runtime_checkable
class Unchecked(Protocol):
    """A data set whose records exist even if they cannot be used."""

    def unchecked(self, item: int) -> Record:
        """A record as it is in its file, without the checks of `read`."""


@runtime_checkable
class Labelled(Protocol):
    """A data set whose records have labels; see `read_labels`."""

    def label_names(self) -> Sequence[str]:
        """The names of the columns of labels.

        Raises:
            NoTrainingData: they cannot be read.
        """

    def labels(self, name: str) -> Sequence[str | None]:
        """A column: the label of each record, in order; None for records without one.

        Raises:
            NoTrainingData: it cannot be read.
        """


@dataclass(frozen=True, eq=False)
class Splits:
    """The data at a path."""

    train: Dataset
    test: Dataset | None = None
    """The test split of the data set's authors, if there is one."""


Data = TypeVar("Data", bound=Dataset)


def reopened(opener: Callable[[], Data], digest: str) -> Data:
    """Open data again, in another process: the unpickled form of a data set in mapped files.

    Raises:
        NoTrainingData: the data have another digest now.
    """
    dataset = opener()
    if dataset.digest != digest:
        name = dataset.key(0) if len(dataset) else "The data set"
        raise NoTrainingData(
            f"The files of {printable(name)} changed.",
            f"Expected data with the digest {digest}.",
            "Prepare the run again.",
        )
    return dataset


@dataclass(frozen=True)
class RecordFormat:
    """The records that a domain reads, and how containers store them."""

    items: str
    """Plural noun for messages: "images"."""
    records: tuple[type, ...]
    """The types of records that the domain reads."""
    suffixes: frozenset[str] = frozenset()
    """Suffixes of files with one item; lower case, with the dot."""
    columns: tuple[str, ...] = ()
    """Usual names of a column of encoded items, most likely first."""
    feature: str = ""
    """The feature type of such a column in `datasets`: "Image"."""
    arrange: Callable[[NDArray[Any], str], tuple[NDArray[Any], float | None]] | None = None
    """(array, file name) -> the array in the domain's layout, with items along the first axis, and its full scale.
    Raises NoTrainingData for an array without items. A function of a module, since data sets are picklable."""
    array_shape: str = ""
    """The expected shape of arrays, as a sentence for messages."""
