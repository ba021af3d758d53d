"""An index on disk: vectors of items, which are added, removed and searched.

INDEX/index.json    the description: VAE, embedding, preparation, version of the format
INDEX/rows.sqlite   the items, and the slots of their vectors
INDEX/vectors.f32   the vectors
INDEX/lance         the same vectors in LanceDB, for large indexes; made from the others and never the only copy

New vectors are written into free slots and synced to disk before the transaction that names these slots. After a crash,
`kill -9` or a full disk, an index is that of the last transaction.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from vaekit.atomic import cannot_write
from vaekit.errors import CannotWrite, CannotWriteHere, printable
from vaekit.reading import exists
from vaekit.retrieval import rows as tables
from vaekit.retrieval.description import FILE, Description, check_same, read_description, write_description
from vaekit.retrieval.matrix import Matrix, Vectors, nearest
from vaekit.retrieval.rows import Entry, Row, Rows, free_slots

ROWS, VECTORS, LANCE, LOCK = "rows.sqlite", "vectors.f32", "lance", ".lock"
HEAD = "meaning.safetensors"
"""The network of the embedding `meaning`, which is trained for an index."""
SPARE = 32
"""Neighbors beyond k that are compared again in double precision."""


@dataclass(frozen=True)
class Match:
    """A neighbor of a query."""

    row: Row
    similarity: float
    """Cosine, from -1 to 1."""

    @property
    def distance(self) -> float:
        """1 - cosine, from 0 to 2."""
        return max(0.0, 1.0 - self.similarity)


class Index:
    """An opened index."""

    def __init__(self, folder: Path, description: Description, rows: Rows) -> None:
        self.folder, self.description, self.rows = folder, description, rows
        self.matrix = Matrix(folder / VECTORS, description.dimension)
        self._free: Iterator[int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def check(self) -> None:
        """Check that the file of vectors is long enough for those of all rows.

        Raises:
            BadIndex: it is not, or does not exist, or the rows are damaged.
        """
        last = self.rows.last_slot()
        if last is not None:
            self.matrix.check_length(last)

    def change(
        self,
        removed: Sequence[int] = (),
        updated: Sequence[tuple[int, Entry]] = (),
        added: Sequence[Entry] = (),
        vectors: Vectors | None = None,
    ) -> None:
        """Change the index: all of it, or nothing.

        Args:
            removed: ids of rows.
            updated: ids of rows with new positions, stamps and labels.
            added: new items.
            vectors: one for each of these.

        Raises:
            CannotWriteHere: for example, the disk is full. The index is as before.
        """
        if self._free is None:
            self._free = free_slots(self.rows.slots())
        slots = list(islice(self._free, len(added)))
        try:
            if vectors is not None and slots:
                self.matrix.write(np.array(slots, np.int64), vectors)
            self.rows.change(removed, updated, list(zip(slots, added, strict=True)))
        except BaseException:
            self._free = None
            raise

    def vectors_of(self, rows: Sequence[Row]) -> Vectors:
        """The vectors of rows."""
        return self.matrix.read(np.array([row.slot for row in rows], np.int64))

    def search(self, query: Vectors, k: int, candidates: "Candidates | None" = None) -> list[Match]:
        """The nearest neighbors of a vector (dimension,), most similar first.

        Args:
            query: a unit vector.
            k: the number of neighbors.
            candidates: finds a few more than k; None compares every vector.

        Raises:
            BadIndex: the index is damaged.
        """
        with self.rows.reading():
            return self.ranked(query, (candidates or ExactScan(self))(query, k + SPARE), k)

    def ranked(self, query: Vectors, rows: Sequence[Row], k: int) -> list[Match]:
        """The k most similar of some rows. Products are computed in double precision, one by one, so that they do not
        depend on other rows; items with equal vectors are in the order of their names."""
        if not rows:
            return []
        products = (self.vectors_of(rows).astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        matches = [Match(row, float(product)) for row, product in zip(rows, products, strict=True)]
        matches.sort(key=lambda match: (-match.similarity, match.row.entry.key, match.row.entry.occurrence))
        return matches[:k]


@runtime_checkable
class Candidates(Protocol):
    """Finds the rows of about k nearest neighbors of a vector (dimension,)."""

    @property
    def name(self) -> str:
        """The name of the method, for messages."""

    def __call__(self, query: Vectors, k: int) -> list[Row]:
        """The rows, in any order.

        Raises:
            BadIndex: the index is damaged.
        """


@dataclass(frozen=True, eq=False)
class ExactScan:
    """Compares a query with every vector."""

    index: Index
    name = "exact"

    def __call__(self, query: Vectors, k: int) -> list[Row]:
        slots, _ = nearest(self.index.matrix, self.index.rows.slots(), query[None], k)
        return list(self.index.rows.of_slots(slots[0].tolist()).values())


def write_lock(folder: Path) -> FileLock:
    """The lock of the process that changes an index."""
    return FileLock(folder / LOCK, timeout=0)


@contextmanager
def opened_for_search(folder: Path) -> Iterator[Index]:
    """Open an index for searching.

    Raises:
        BadIndex: the folder holds no index, one of another version, or a damaged one.
        CannotRead: it cannot be opened.
    """
    description = read_description(folder)
    with tables.opened(folder / ROWS) as rows:
        index = Index(folder, description, rows)
        index.check()
        yield index


@contextmanager
def opened_for_change(folder: Path, description: Description) -> Iterator[Index]:
    """Open an index for changing, and create it if there is none.

    Args:
        folder: of the index; created if it does not exist.
        description: of the vectors that will be added.

    Raises:
        IndexMismatch: the index has items, and was made with another VAE, embedding or preparation. It is unchanged.
        BadIndex: it is damaged, or of another version.
        CannotWrite: the folder holds something else, is not writable, or another process is changing the index.
    """
    try:
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = write_lock(folder)
        lock.acquire()
    except Timeout as error:
        raise CannotWriteHere(
            f"Another process is changing the index {folder}.", "", "Wait for it, or choose another folder."
        ) from error
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error, CannotWriteHere) from error
    try:
        before = read_description(folder) if os.path.lexists(folder / FILE) else None
        with tables.opened(folder / ROWS, create=True) as rows:
            if before is not None and len(rows):
                check_same(folder, before, description)
            index = Index(folder, description, rows)
            index.check()
            if before != description:
                write_description(folder, description)
            yield index
    finally:
        lock.release()


def is_empty(folder: Path) -> bool:
    """Whether a folder holds no index, or one without items, as an interrupted process leaves it.

    Raises:
        BadIndex: the index is damaged.
    """
    if not exists(folder / FILE) or not exists(folder / ROWS):
        return True
    with tables.opened(folder / ROWS) as rows:
        return not len(rows)


def check_folder(folder: Path) -> None:
    """Check that a folder holds an index, what an interrupted process left of a new one, or nothing.

    Raises:
        CannotWrite: it holds something else.
    """
    try:
        held = {path.name for path in folder.iterdir()} if exists(folder) else set()
    except OSError as error:
        raise cannot_write(folder, error, CannotWriteHere) from error
    foreign = {name for name in held - {ROWS, LOCK, HEAD} if not name.startswith((f".{FILE}.", f".{HEAD}."))}
    if foreign and FILE not in held:
        raise CannotWrite(
            f"{folder} exists and is not an index: it contains {printable(min(foreign))}.", "", "Choose another folder."
        )


def sample_of(slots: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of some slots, at equal distances: reproducible, and spread over the data."""
    if len(slots) <= count:
        return slots
    return slots[np.linspace(0, len(slots) - 1, count).round().astype(np.int64)]
