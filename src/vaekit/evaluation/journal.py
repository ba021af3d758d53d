"""The results of an evaluation on disk: after a crash or `kill -9` the next run resumes from them.

FOLDER/protocol.json   the protocol
FOLDER/items.jsonl     the values of single items, one line per batch
FOLDER/rows.bin        the rows of pooled measures, little-endian 32-bit floats in the order of the lines

A line is written after its rows are on disk, and is complete once it ends in a newline. Incomplete batches after a
crash are truncated, and so are damaged ones: each line has a checksum of its values and rows. Lines without one are of
older versions.
"""

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.errors import CannotWriteHere, ProtocolChanged, reason_of
from vaekit.evaluation.protocol import Protocol
from vaekit.json import dumps, number
from vaekit.reading import exists, open_file, read_json
from vaekit.records import differences, renamed

PROTOCOL, ITEMS, ROWS, RESULT = "protocol.json", "items.jsonl", "rows.bin", "evaluation.json"
LONGEST_LINE = 2**28
"""Bytes of a batch in `items.jsonl`; a longer line is damaged."""
OLD_NAMES = {"colours": "colors"}
"""Current names of entries, by their names in the first edition."""
CHECKSUM = "crc32"


@dataclass(frozen=True)
class Item:
    """The values of one item, or why it was skipped."""

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    """The reason why it was skipped."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive items, and the rows (b, n) of each pooled measure, without those of skipped items."""

    items: tuple[Item, ...]
    rows: Mapping[str, Tensor] = field(default_factory=dict)


class Journal:
    """The saved batches of an evaluation. Open it with `opened`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(self) -> Iterator[Batch]:
        """Iterate over the complete batches, then truncate both files after the last one.

        Raises:
            CannotWriteHere: the files cannot be read or truncated.
        """
        try:
            with _opened(self.folder / ITEMS) as lines, _opened(self.folder / ROWS) as rows:
                end = 0, 0
                while (line := lines.readline(LONGEST_LINE)) and (batch := _batch(line, rows.read)) is not None:
                    end = lines.tell(), rows.tell()
                    yield batch
            self._truncate(end)
        except OSError as error:
            raise cannot_write(self.folder, error, CannotWriteHere) from error

    def add(self, batch: Batch) -> None:
        """Append a batch, and flush it to disk.

        Raises:
            CannotWriteHere: e.g. the disk is full. The batch is not in the files then, not even in part.
        """
        before = _size(self.folder / ITEMS), _size(self.folder / ROWS)
        shapes = {name: list(rows.shape) for name, rows in batch.rows.items()}
        items = [
            asdict(item) | {"values": {name: number(value) for name, value in item.values.items()}}
            for item in batch.items
        ]
        entry: dict[str, Any] = {"items": items, "rows": shapes}
        content = b"".join(_content(rows) for rows in batch.rows.values())
        line = json.dumps(entry | {CHECKSUM: checksum(entry, content)}, allow_nan=False)
        try:
            if content:
                _append(self.folder / ROWS, content)
            _append(self.folder / ITEMS, line.encode() + b"\n")
        except OSError as error:
            with suppress(OSError):  # the next run does it
                self._truncate(before)
            raise cannot_write(self.folder, error, CannotWriteHere) from error

    def _truncate(self, sizes: tuple[int | None, int | None]) -> None:
        """Truncate items and rows to these sizes in bytes; None removes the file."""
        for path, size in zip((self.folder / ITEMS, self.folder / ROWS), sizes, strict=True):
            if size is None:
                path.unlink(missing_ok=True)
            elif (_size(path) or 0) > size:
                os.truncate(path, size)


@contextmanager
def opened(folder: Path, protocol: Protocol) -> Iterator[Journal]:
    """The journal of an evaluation in a folder: a new one, or that of an interrupted run with the same protocol.

    Raises:
        ProtocolChanged: the folder holds an evaluation with another protocol, and is not changed.
        CannotWrite: the folder cannot be created or written, or another process is writing to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise CannotWriteHere(
            f"Another evaluation is writing to {folder}.", "", "Wait for it, or choose another folder."
        ) from error
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error, CannotWriteHere) from error
    try:
        _agree(folder, protocol)
        yield Journal(folder)
    finally:
        lock.release()


def _agree(folder: Path, protocol: Protocol) -> None:
    """Write the protocol, or compare it with the one in the folder.

    Raises:
        ProtocolChanged: they differ, or the folder's is missing or damaged.
    """
    current = json.loads(dumps(protocol.as_json()))
    path = folder / PROTOCOL
    try:
        before = read_json(path)
    except FileNotFoundError:
        if any(_size(folder / name) for name in (ITEMS, ROWS)):
            raise ProtocolChanged(
                f"{folder} holds an evaluation without its {PROTOCOL}.", "", "Choose another folder, or remove it."
            ) from None
        with atomic_file(path) as part:
            part.write_text(dumps(current) + "\n", "utf-8")
        return
    except (OSError, ValueError) as error:
        raise ProtocolChanged(
            f"{path} cannot be read: {reason_of(error)}.", "", "Choose another folder, or remove it."
        ) from error
    changed = differences(upgraded(before), current) if isinstance(before, dict) else [f"{PROTOCOL} is not a protocol"]
    if changed:
        raise ProtocolChanged(
            f"{folder} holds an evaluation with another protocol: {'; '.join(changed)}.",
            "Results of different protocols cannot be mixed.",
            "Choose another folder, or repeat the original command.",
        )


def upgraded(protocol: dict[str, Any]) -> dict[str, Any]:
    """A stored protocol in the current form; the first edition had other names."""
    return renamed(protocol, OLD_NAMES)


def _opened(path: Path) -> BinaryIO:
    """A file for reading; an empty one if it does not exist."""
    return open_file(path) if exists(path) else open(os.devnull, "rb")


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None if it does not exist."""
    return path.stat().st_size if path.exists() else None


def _append(path: Path, content: bytes) -> None:
    """Append to a file, and flush it to disk."""
    with open(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def checksum(entry: Mapping[str, Any], content: bytes) -> int:
    """CRC-32 of the values of a batch, and of the content of its rows."""
    return zlib.crc32(content, zlib.crc32(json.dumps(entry).encode()))


def _content(rows: Tensor) -> bytes:
    """Rows as the file has them."""
    return rows.contiguous().numpy().astype("<f4").tobytes()


def _batch(line: bytes, read: Any) -> Batch | None:
    """The batch of a line and its rows; None if either is incomplete or damaged."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
        expected = entry.pop(CHECKSUM, None)
        items = tuple(
            Item(item["name"], {name: float(value) for name, value in item["values"].items()}, item["error"])
            for item in entry["items"]
        )
        rows = {name: _rows(read, shape) for name, shape in entry["rows"].items()}
        if expected is not None and expected != checksum(entry, b"".join(map(_content, rows.values()))):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError):
        return None
    return Batch(items, rows)


def _rows(read: Any, shape: Sequence[int]) -> Tensor:
    """The next rows of the file.

    Raises:
        ValueError: the file is too short.
    """
    count = math.prod(shape)
    content = read(4 * count)
    if len(content) != 4 * count:
        raise ValueError("the file is truncated")
    return torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32)).view(*shape)
