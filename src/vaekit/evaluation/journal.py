"""The results of an evaluation on disk: after a crash or `kill -9` the next run resumes from them.

A folder holds `protocol.json`; `items.jsonl` with one line for each batch; and `rows.bin`, the numbers that pooled
measures keep of each item, as 32-bit floats in the order of the lines. A line is written after its rows have reached
the disk, and counts once it ends in a newline: what a crash leaves of a later batch is cut off.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from vaekit.atomic import atomic_file, cannot_write
from vaekit.errors import CannotWriteHere, ProtocolChanged
from vaekit.evaluation.protocol import Protocol
from vaekit.json import dumps, number
from vaekit.records import differences, renamed

PROTOCOL, ITEMS, ROWS, RESULT = "protocol.json", "items.jsonl", "rows.bin", "evaluation.json"

OLD_NAMES = {"colours": "colors"}
"""Entries that had other names in the first edition."""


@dataclass(frozen=True)
class Item:
    """What became of one item."""

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    """Why it was skipped."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some items in their order, and the rows (b, n) that each pooled measure keeps of those that were not skipped."""

    items: tuple[Item, ...]
    rows: Mapping[str, Tensor] = field(default_factory=dict)


class Journal:
    """The batches that were done. Open it with `opened`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(self) -> Iterator[Batch]:
        """Those that are whole, one at a time; afterwards both files end behind the last of them."""
        with open(self.folder / ITEMS, "ab+") as lines, open(self.folder / ROWS, "ab+") as rows:
            lines.seek(0)
            rows.seek(0)
            whole = 0, 0
            while (line := lines.readline()) and (batch := _batch(line, rows.read)) is not None:
                whole = lines.tell(), rows.tell()
                yield batch
            lines.truncate(whole[0])
            rows.truncate(whole[1])

    def add(self, batch: Batch) -> None:
        """Keep a further batch: it is on the disk when this returns.

        Raises:
            CannotWriteHere: the disk is full, or refuses.
        """
        shapes = {name: list(rows.shape) for name, rows in batch.rows.items()}
        items = [
            asdict(item) | {"values": {name: number(value) for name, value in item.values.items()}}
            for item in batch.items
        ]
        line = json.dumps({"items": items, "rows": shapes}, allow_nan=False)
        octets = b"".join(rows.contiguous().numpy().astype("<f4").tobytes() for rows in batch.rows.values())
        try:
            _append(self.folder / ROWS, octets)
            _append(self.folder / ITEMS, line.encode() + b"\n")
        except OSError as error:
            raise cannot_write(self.folder, error, CannotWriteHere) from error


@contextmanager
def opened(folder: Path, protocol: Protocol) -> Iterator[Journal]:
    """The journal of an evaluation in a folder: a new one, or the one that an earlier run of the same protocol left.

    Raises:
        ProtocolChanged: the folder holds an evaluation of another protocol; nothing in it is touched.
        CannotWrite: it cannot be made or written, or another evaluation is writing to it now.
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
    """Write down the protocol, or check that it is the one that stands there."""
    told = json.loads(dumps(protocol.as_json()))
    path = folder / PROTOCOL
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if any((folder / name).exists() for name in (ITEMS, ROWS)):
            raise ProtocolChanged(
                f"{folder} holds an evaluation without its {PROTOCOL}.", "", "Choose another folder, or remove it."
            ) from None
        with atomic_file(path) as part:
            part.write_text(dumps(told) + "\n", "utf-8")
        return
    except (OSError, ValueError) as error:
        raise ProtocolChanged(f"{path} cannot be read: {error}.", "", "Choose another folder, or remove it.") from error
    changed = differences(upgraded(before), told) if isinstance(before, dict) else [f"{PROTOCOL} holds no protocol"]
    if changed:
        raise ProtocolChanged(
            f"{folder} holds an evaluation with another protocol: {'; '.join(changed)}.",
            "Results of different protocols cannot be mixed.",
            "Choose another folder, or repeat the original command.",
        )


def upgraded(protocol: dict[str, Any]) -> dict[str, Any]:
    """A stored protocol as it is written today; the first edition had other names in it."""
    return renamed(protocol, OLD_NAMES)


def _append(path: Path, octets: bytes) -> None:
    with open(path, "ab") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def _batch(line: bytes, read: Any) -> Batch | None:
    """A line with its rows; None where either is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        told = json.loads(line)
        items = tuple(
            Item(item["name"], {name: float(value) for name, value in item["values"].items()}, item["error"])
            for item in told["items"]
        )
        rows = {name: _rows(read, shape) for name, shape in told["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Batch(items, rows)


def _rows(read: Any, shape: Sequence[int]) -> Tensor:
    """The next rows of the file.

    Raises:
        ValueError: it ends before.
    """
    count = math.prod(shape)
    octets = read(4 * count)
    if len(octets) != 4 * count:
        raise ValueError("the file is truncated")
    return torch.from_numpy(np.frombuffer(octets, "<f4").astype(np.float32)).view(*shape)
