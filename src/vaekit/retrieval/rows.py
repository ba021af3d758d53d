"""The rows of an index in SQLite: which items it holds, and where their vectors are."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaekit.atomic import cannot_write
from vaekit.errors import BadIndex, CannotRead, CannotWriteHere, printable, reason_of
from vaekit.reading import refuse_irregular
from vaekit.retrieval.matrix import REBUILD

TABLES = """
CREATE TABLE rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    slot INTEGER NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    digest BLOB NOT NULL,
    stamp TEXT NOT NULL,
    label BLOB,
    UNIQUE (key, occurrence)
);
CREATE INDEX rows_by_digest ON rows (digest);
"""
"""An id is never used again, a slot is. Keys and labels are UTF-8 in which lone surrogates are allowed."""
COLUMNS = "id, key, occurrence, slot, position, digest, stamp, label"
LONGEST = 2**20
"""The maximum number of bytes of a value. SQLite refuses longer ones."""
PATIENCE = 60.0
"""Seconds to wait for another process that is reading or writing."""
MOST_VALUES = 500
"""The maximum number of values in a query; SQLite has a limit."""
MOST_SLOTS = 2**40
T = TypeVar("T", bytes, str)


@dataclass(frozen=True)
class Entry:
    """An item as the index knows it."""

    key: str
    occurrence: int
    """Items with the same key are numbered from 0."""
    position: int
    """In the data set, when it was indexed."""
    digest: bytes
    """Of its content."""
    stamp: str
    """See `vaekit.retrieval.contents.stamp_of`."""
    label: str | None

    @property
    def name(self) -> str:
        """The key; with a number for the second item of this key and later ones."""
        return self.key if self.occurrence == 0 else f"{self.key} ({self.occurrence + 1})"


@dataclass(frozen=True)
class Row:
    """An item, and where its vector is."""

    id: int
    slot: int
    entry: Entry


class Rows:
    """The table of rows. Open it with `opened`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path = connection, path

    def __len__(self) -> int:
        return int(self._all("SELECT COUNT(*) FROM rows")[0][0])

    def find(self, key: str, occurrence: int) -> Row | None:
        """The row of an item."""
        rows = self._all(f"SELECT {COLUMNS} FROM rows WHERE key = ? AND occurrence = ?", (encoded(key), occurrence))
        return self._row(rows[0]) if rows else None

    def named(self, name: str) -> list[Row]:
        """The rows of this name; see `Entry.name`."""
        values = [(name, 0)]
        key, space, number = name.rpartition(" (")
        digits = number.removesuffix(")")
        if space and number.endswith(")") and digits.isascii() and digits.isdigit() and len(digits) < 12:
            values.append((key, int(digits) - 1))
        return [row for key, occurrence in values if (row := self.find(key, occurrence)) is not None]

    def of_slots(self, slots: Sequence[int]) -> dict[int, Row]:
        """Rows by slot."""
        return {row.slot: row for row in self._where("slot", slots)}

    def of_ids(self, ids: Sequence[int]) -> dict[int, Row]:
        """Rows by id."""
        return {row.id: row for row in self._where("id", ids)}

    def of_digest(self, digest: bytes) -> list[Row]:
        """The items with this content, by name."""
        return sorted(self._where("digest", [digest]), key=lambda row: (row.entry.key, row.entry.occurrence))

    def slots(self) -> NDArray[np.int64]:
        """All slots in use, sorted."""
        count, last = self._all("SELECT COUNT(*), MAX(slot) FROM rows")[0]
        if isinstance(last, int) and count == last + 1:  # slots are unique
            return np.arange(count)
        return self._numbers("SELECT slot FROM rows ORDER BY slot")

    def last_slot(self) -> int | None:
        """The largest slot in use."""
        slots = self._numbers("SELECT slot FROM rows ORDER BY slot DESC LIMIT 1")
        return int(slots[0]) if len(slots) else None

    def ids_and_slots(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All ids and their slots, in the order of slots."""
        return self._numbers("SELECT id FROM rows ORDER BY slot"), self.slots()

    def labelled(self) -> tuple[NDArray[np.int64], list[str]]:
        """The slots of rows with a label, sorted, and their labels."""
        rows = self._all("SELECT slot, label FROM rows WHERE label IS NOT NULL ORDER BY slot")
        return np.array([row[0] for row in rows], np.int64), [decoded(row[1]) for row in rows]

    def all(self) -> Iterator[Row]:
        """All rows by name, read one at a time."""
        with self._translated():
            for row in self._connection.execute(f"SELECT {COLUMNS} FROM rows ORDER BY key, occurrence"):
                yield self._row(row)

    def change(
        self, removed: Sequence[int], updated: Sequence[tuple[int, Entry]], added: Sequence[tuple[int, Entry]]
    ) -> None:
        """Change the table in one transaction.

        Args:
            removed: ids.
            updated: ids with new positions, stamps and labels.
            added: slots with their items.

        Raises:
            CannotWriteHere: for example, the disk is full. The table is as before.
            BadIndex: the table is damaged.
        """
        with self._translated(), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM rows WHERE id = ?", [(each,) for each in removed])
            connection.executemany(
                "UPDATE rows SET position = ?, stamp = ?, label = ? WHERE id = ?",
                [(entry.position, entry.stamp, encoded_label(entry.label), each) for each, entry in updated],
            )
            connection.executemany(
                "INSERT INTO rows (key, occurrence, slot, position, digest, stamp, label) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(encoded(entry.key), entry.occurrence, slot, entry.position, entry.digest, entry.stamp),
                        encoded_label(entry.label),
                    )
                    for slot, entry in added
                ],
            )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """In the block, all reads see the same rows, and no other process changes them."""
        with self._translated():
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()  # takes the lock
        try:
            yield
        finally:
            self._connection.rollback()

    def _where(self, column: str, values: Sequence[Any]) -> Iterator[Row]:
        for start in range(0, len(values), MOST_VALUES):
            part = values[start : start + MOST_VALUES]
            places = ",".join("?" * len(part))
            for row in self._all(f"SELECT {COLUMNS} FROM rows WHERE {column} IN ({places})", part):
                yield self._row(row)

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._translated():
            return self._connection.execute(query, tuple(values)).fetchall()

    def _numbers(self, query: str) -> NDArray[np.int64]:
        with self._translated():
            values = np.fromiter((row[0] for row in self._connection.execute(query)), np.int64)
            if len(values) and not (values.min() >= 0 and values.max() < MOST_SLOTS):
                raise ValueError("a number is out of range")
        return values

    def _row(self, values: Any) -> Row:
        each, key, occurrence, slot, position, digest, stamp, label = values
        try:
            entry = Entry(
                key=decoded(key),
                occurrence=_number(occurrence),
                position=_number(position),
                digest=_of_type(bytes, digest),
                stamp=_of_type(str, stamp),
                label=None if label is None else decoded(label),
            )
            return Row(_number(each), _number(slot), entry)
        except (ValueError, TypeError) as error:
            raise self._damaged(printable(str(error))) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise errors of SQLite as ours."""
        try:
            yield
        except (ValueError, OverflowError) as error:
            raise self._damaged(printable(str(error))) from error
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _damaged(self, reason: str) -> BadIndex:
        return damaged(self.path, reason)


@contextmanager
def opened(path: Path, create: bool = False) -> Iterator[Rows]:
    """Open a table of rows.

    Args:
        path: the file.
        create: whether to create it if it does not exist.

    Raises:
        BadIndex: the file is damaged, or does not exist and is not created.
        CannotRead, CannotWriteHere: it cannot be opened.
    """
    try:
        refuse_irregular(path.stat(), path)
    except FileNotFoundError as error:
        if not create:
            raise damaged(path, "it does not exist") from error
    except OSError as error:
        raise damaged(path, reason_of(error)) from error
    mode = "rwc" if create else "rw"  # SQLite reads a file that it may not write, and restores one after a crash
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None
        )
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        with _translated(path):
            prepare(connection, path, create)
        yield Rows(connection, path)
    finally:
        connection.close()


def prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    """Restrict what a hostile file can do, and check that it has the expected tables.

    Raises:
        sqlite3.Error: it is not a file of SQLite, or cannot be written.
        BadIndex: it has other tables.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA synchronous = FULL")
    found = tables_of(connection)
    if not found and create:
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
        return
    with sqlite3.connect(":memory:") as fresh:
        fresh.executescript(TABLES)
        expected = tables_of(fresh)
    fresh.close()
    if found != expected:
        raise damaged(path, "its tables are not those of an index")


def tables_of(connection: sqlite3.Connection) -> list[Any]:
    """The definitions of all tables, indexes, views and triggers."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error


def translated(error: sqlite3.Error, path: Path) -> BadIndex | CannotWriteHere | CannotRead:
    """An error of SQLite as ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
        return cannot_write(path, error, CannotWriteHere)  # type: ignore[return-value]
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CannotWriteHere(
            f"Another process has been using {path} for {PATIENCE:g} seconds.", "", "Wait for it, and try again."
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return CannotRead(
            f"{path} cannot be opened: {printable(str(error))}.",
            "",
            "Check the permissions of the file and its folder.",
        )
    return damaged(path, printable(str(error)))


def damaged(path: Path, reason: str) -> BadIndex:
    """The error for a damaged table."""
    return BadIndex(f"The rows of the index, {path}, cannot be read: {reason}.", "", REBUILD)


def encoded(text: str) -> bytes:
    """Text as the table has it."""
    return text.encode("utf-8", "surrogatepass")


def encoded_label(label: str | None) -> bytes | None:
    """A label as the table has it."""
    return None if label is None else encoded(label)


def decoded(content: Any) -> str:
    """The inverse of `encoded`.

    Raises:
        ValueError: the content is not of the table.
    """
    return _of_type(bytes, content).decode("utf-8", "surrogatepass")


def _of_type(expected: type[T], value: Any) -> T:
    """A value of the type that its column has; SQLite stores any other, too."""
    if not isinstance(value, expected):
        raise ValueError(f"a value is not of the type {expected.__name__}")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < MOST_SLOTS:
        raise ValueError("a number is out of range")
    return value


def free_slots(used: NDArray[np.int64]) -> Iterator[int]:
    """The slots that are not in use, from the first, without an end."""
    taken = iter(used.tolist())
    following = next(taken, None)
    slot = 0
    while True:
        if slot == following:
            following = next(taken, None)
        else:
            yield slot
        slot += 1
