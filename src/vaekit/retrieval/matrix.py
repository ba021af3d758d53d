"""Vectors in slots of one file: little-endian 32-bit floats, without a header, scanned in blocks."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vaekit.atomic import cannot_write
from vaekit.errors import BadIndex, CannotWriteHere, reason_of
from vaekit.reading import open_file

Vectors = NDArray[np.float32]
"""(n, dimension), unit vectors."""
Slots = NDArray[np.int64]
"""(n,), positions of vectors in the file."""
BLOCK = 2**24
"""Bytes that are read at once."""
FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
"""For writing. Links are not followed: an index of somebody else could name any file of the user."""
LONGEST = 1.01
"""The largest dot product of stored vectors, rounding included; larger ones are of a damaged file."""
REBUILD = "Remove the folder, and run `vaekit index` again."


class Matrix:
    """A file of vectors.

    A write replaces vectors in free slots only, and is on disk when it returns, so that the table of rows can be
    committed afterwards. Blocks are read into one buffer, not mapped: a mapped file that another process truncates
    would end this one.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self.path, self.dimension = path, dimension
        self.width = 4 * dimension
        self.rows_per_block = max(1, BLOCK // self.width)

    def write(self, slots: Slots, vectors: Vectors) -> None:
        """Write vectors into slots, and flush the file to disk.

        Raises:
            CannotWriteHere: for example, the disk is full.
        """
        order = np.argsort(slots)
        sorted_slots, content = slots[order], vectors[order].astype("<f4")
        ends = [0, *(np.flatnonzero(np.diff(sorted_slots) != 1) + 1).tolist(), len(slots)]
        try:
            descriptor = os.open(self.path, FLAGS, 0o666)
            with closing(os.fdopen(descriptor, "r+b")) as file:
                for start, end in pairwise(ends):
                    file.seek(int(sorted_slots[start]) * self.width)
                    file.write(content[start:end].tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error, CannotWriteHere) from error

    def read(self, slots: Slots) -> Vectors:
        """The vectors in slots.

        Raises:
            BadIndex: the file is shorter, cannot be read, or holds something else than unit vectors.
        """
        vectors = np.empty((len(slots), self.dimension), "<f4")
        with self._opened() as file:
            for vector, slot in zip(vectors, slots.tolist(), strict=True):
                self._fill(file, slot, vector)
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        if not (np.abs(lengths - 1) <= LONGEST - 1).all():  # false for NaN
            raise self.not_of_unit_vectors()
        return vectors.astype(np.float32, copy=False)

    def blocks(self, slots: Slots) -> Iterator[tuple[int, Vectors]]:
        """The first slot of each block in which some of these sorted slots are, and its vectors. A block is valid until
        the next.

        Raises:
            BadIndex: the file is shorter, or cannot be read.
        """
        count = int(slots[-1]) + 1 if len(slots) else 0
        buffer = np.empty((min(self.rows_per_block, count), self.dimension), "<f4")
        with self._opened() as file:
            for number in np.unique(slots // self.rows_per_block).tolist():
                start = number * self.rows_per_block
                block = buffer[: min(self.rows_per_block, count - start)]
                self._fill(file, start, block)
                yield start, block

    def check_length(self, last: int) -> None:
        """Check that the file is long enough for a vector in this slot.

        Raises:
            BadIndex: it is shorter, or cannot be opened.
        """
        with self._opened() as file:
            missing = (last + 1) * self.width - os.fstat(file.fileno()).st_size
        if missing > 0:
            raise self._damaged(f"it ends {missing:,} bytes early")

    def not_of_unit_vectors(self) -> BadIndex:
        """The error for a file with other values than those of unit vectors."""
        return BadIndex(f"The vectors of the index, {self.path}, are damaged: some are not unit vectors.", "", REBUILD)

    def _opened(self) -> BinaryIO:
        try:
            return open_file(self.path)
        except OSError as error:
            raise self._damaged(reason_of(error)) from error

    def _fill(self, file: Any, slot: int, vectors: NDArray[Any]) -> None:
        try:
            file.seek(slot * self.width)
            count = file.readinto(vectors.data.cast("B"))
        except OSError as error:
            raise self._damaged(reason_of(error)) from error
        if count != vectors.nbytes:
            raise self._damaged(f"it ends {vectors.nbytes - count:,} bytes early")

    def _damaged(self, reason: str) -> BadIndex:
        return BadIndex(f"The vectors of the index, {self.path}, cannot be read: {reason}.", "", REBUILD)


def nearest(matrix: Matrix, live: Slots, queries: Vectors, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Compare queries with every vector: slots (q, k) and dot products (q, k), most similar first.

    Args:
        matrix: the vectors.
        live: the slots in use, sorted; the others are ignored.
        queries: (q, dimension).
        k: neighbors per query; fewer are returned if there are fewer vectors.

    Raises:
        BadIndex: the file is damaged: it is too short, or has values that no unit vectors have.
    """
    k = min(k, len(live))
    slots = np.zeros((len(queries), 0), np.int64)
    scores = np.zeros((len(queries), 0), np.float32)
    count = int(live[-1]) + 1 if len(live) else 0
    gaps = count != len(live)
    for start, block in matrix.blocks(live) if k else ():
        first, last = np.searchsorted(live, (start, start + len(block)))
        inside = live[first:last] - start if gaps else np.arange(len(block))
        with np.errstate(all="ignore"):
            products = queries @ (block[inside] if gaps else block).T
        if products.size and not (products.max() <= LONGEST and products.min() >= -LONGEST):  # false for NaN
            raise matrix.not_of_unit_vectors()
        best = _best(products, k)
        scores = np.concatenate([scores, np.take_along_axis(products, best, axis=1)], axis=1)
        slots = np.concatenate([slots, inside[best] + start], axis=1)
        kept = _best(scores, k)
        scores, slots = np.take_along_axis(scores, kept, axis=1), np.take_along_axis(slots, kept, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(slots, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The columns of the k largest scores of each row, in any order."""
    if scores.shape[1] <= k:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    return np.argpartition(scores, -k, axis=1)[:, -k:]
