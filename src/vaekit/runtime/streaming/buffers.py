"""Store maps between stages, in bands of rows: in memory up to a limit, else in a file.

Bands are freed as soon as the last stage that reads them has passed, so that the memory of a map is reused for the maps
computed from it. A band that does not fit is written to the file immediately: it is the one that will be read last.
"""

import os
import tempfile
import threading
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import BadPlan
from vaekit.runtime.streaming.arena import Arena, Lease

BAND = 2 << 20
"""The maximum size of a band in bytes: with bands of equal sizes, the memory of one map is reused for the next."""


@dataclass(eq=False)
class Band:
    """Some rows of a map."""

    start: int
    end: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    lease: Lease | None = None
    """The memory of its values, unless they are in the file."""
    loaded: Tensor | None = None
    """Its values as read from the file, until it is unloaded."""
    offset: int | None = None
    """The position of its values in the file, if they are there."""

    @property
    def nbytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Store:
    """Storage for bands; thread-safe.

    Args:
        device: of the tensors.
        arena: for bands in memory; all leases are returned when the store is closed.
        folder: for the file, which is created on demand. It is unlinked at once, so that it never remains.
    """

    def __init__(self, device: torch.device, arena: Arena, folder: Path | None = None) -> None:
        self.limit: int | None = None
        self.held = 0
        self.written = 0
        self.arena = arena
        self._device = device
        self._in_memory: list[Band] = []
        self._folder = Path(tempfile.gettempdir()) if folder is None else folder
        self._file: int | None = None
        self._end = 0
        self._gaps: dict[int, list[int]] = {}
        self._lock = threading.RLock()

    def allow(self, limit: int | None, buffers: int) -> None:
        """Set the memory limits.

        Args:
            limit: for bands, in bytes; None for no limit.
            buffers: for the arena's buffers, in bytes, including free ones.
        """
        self.limit = limit
        self.arena.limit = buffers
        while limit is not None and self.held > limit:
            band = max(self._in_memory, key=lambda each: each.start)  # the rows that are read last
            assert band.lease is not None
            self._write(band, band.lease.tensor)
            self._forget(band)
        self.arena.trim(buffers)

    def put(self, start: int, tensor: Tensor, rows: int) -> Band:
        """Store rows as a band."""
        band = Band(start, start + rows, tuple(tensor.shape), tensor.dtype)
        with self._lock:
            if self.limit is not None and self.held + band.nbytes > self.limit:
                self._write(band, tensor)
                return band
            band.lease = lease = self.arena.lease(band.shape, band.dtype)
            self.held += band.nbytes
            self._in_memory.append(band)
        lease.tensor.copy_(tensor)
        return band

    def get(self, band: Band) -> Tensor:
        """The rows of a band; valid until it is unloaded or dropped."""
        with self._lock:
            if band.lease is not None:
                return band.lease.tensor
            if band.loaded is None:
                assert self._file is not None and band.offset is not None
                read = torch.empty(band.shape, dtype=band.dtype)
                view = bytes_of(read)
                done = 0
                while done < len(view):
                    done += os.preadv(self._file, [view[done:]], band.offset + done)
                band.loaded = read.to(self._device)
            return band.loaded

    def unload(self, band: Band) -> None:
        """Free the copy in memory of rows that are in the file."""
        with self._lock:
            band.loaded = None

    def drop(self, band: Band) -> None:
        """Free a band."""
        with self._lock:
            if band.offset is None:
                self._forget(band)
            else:
                self._gaps.setdefault(band.nbytes, []).append(band.offset)
            band.loaded = None

    def close(self) -> None:
        """Free all bands and close the file; no band may be used any more."""
        while self._in_memory:
            self._forget(self._in_memory[-1])
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _forget(self, band: Band) -> None:
        self._in_memory.remove(band)
        self.held -= band.nbytes
        assert band.lease is not None
        band.lease.release()
        band.lease = None

    def _write(self, band: Band, tensor: Tensor) -> None:
        gaps = self._gaps.get(band.nbytes)
        offset = gaps.pop() if gaps else self._end
        self._end = max(self._end, offset + band.nbytes)
        view = bytes_of(tensor.contiguous().cpu())
        done = 0
        try:
            if self._file is None:
                self._file = unlinked_file(self._folder)
            while done < len(view):
                done += os.pwrite(self._file, view[done:], offset + done)
        except OSError as error:
            raise BadPlan(
                f"The data beyond the memory limit does not fit into {self._folder} either: {error.strerror}.",
                f"Expected at least {self._end / 2**30:.1f} GiB of free space there.",
                "Allow more memory, or set VAEKIT_SCRATCH to a folder with more space.",
            ) from error
        band.offset = offset
        self.written += band.nbytes


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    array: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(array)


def unlinked_file(folder: Path) -> int:
    """A new file, unlinked from its folder, for reading and writing."""
    folder.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(dir=folder, prefix="vaekit-")
    Path(name).unlink()
    return file


class Map:
    """The computed rows of a value that are still needed, stored in bands; thread-safe."""

    def __init__(self, store: Store, axis: int, unit: int) -> None:
        self.axis = axis
        self.unit = unit
        self._store = store
        self._bands: list[Band] = []
        self._lock = threading.Lock()

    def put(self, start: int, tensor: Tensor) -> None:
        """Store rows, of which the first is `start`."""
        rows = tensor.shape[self.axis] // self.unit
        at_once = max(1, BAND * rows // tensor.nbytes)
        for row in range(0, rows, at_once):
            count = min(at_once, rows - row)
            band = self._store.put(start + row, tensor.narrow(self.axis, row * self.unit, count * self.unit), count)
            with self._lock:
                insort(self._bands, band, key=lambda each: each.start)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b, as one tensor per band; valid until `keep_only` excludes them."""
        with self._lock:
            bands = [band for band in self._bands if a < band.end and band.start < b]
        tensors = []
        for band in bands:
            first, last = max(a, band.start), min(b, band.end)
            start, size = (first - band.start) * self.unit, (last - first) * self.unit
            tensors.append(self._store.get(band).narrow(self.axis, start, size))
        return tensors

    def keep_only(self, needed: Sequence[tuple[int, int]], permanently: bool) -> None:
        """Free rows outside these ranges: for this stage, or permanently (`permanently`)."""
        with self._lock:
            passed = [band for band in self._bands if not any(a < band.end and band.start < b for a, b in needed)]
            if permanently:
                self._bands = [band for band in self._bands if band not in passed]
        for band in passed:
            (self._store.drop if permanently else self._store.unload)(band)


class WholeValue:
    """A value in one tensor, filled row by row if it has rows; thread-safe."""

    def __init__(self, tensor: Tensor, axis: int | None, unit: int) -> None:
        self.tensor = tensor
        self.axis = axis
        self.unit = unit
        self._lock = threading.Lock()

    def put(self, start: int, tensor: Tensor) -> None:
        """Store rows, of which the first is `start`."""
        assert self.axis is not None
        with self._lock:
            if tensor.dtype == torch.float32 != self.tensor.dtype:
                self.tensor = self.tensor.float()  # these rows exceed the range of half precision
            self.tensor.narrow(self.axis, start * self.unit, tensor.shape[self.axis]).copy_(tensor)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        assert self.axis is not None
        return [self.tensor.narrow(self.axis, a * self.unit, (b - a) * self.unit)]

    def keep_only(self, needed: Sequence[tuple[int, int]], permanently: bool) -> None:
        """Does nothing: the tensor is freed as a whole."""


class RowBuffer:
    """A sliding window over the rows of a value that its users in the same stage still need.

    For one thread only. The rows may be in leased memory: the result of `pieces` is valid until the next change.

    Args:
        axis, unit: the axis of the rows, and the positions per row.
        start: the first row.
        arena: for its memory.
    """

    def __init__(self, axis: int, unit: int, start: int, arena: Arena) -> None:
        self.axis = axis
        self.unit = unit
        self.start = start
        self.tensor: Tensor | None = None
        self._arena = arena
        self._lease: Lease | None = None
        """Of the tensor's memory, unless torch's allocator owns it."""

    @property
    def end(self) -> int:
        return self.start + (0 if self.tensor is None else self.tensor.shape[self.axis] // self.unit)

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom; they must not be in leased memory, as they are not always copied."""
        self._put(tensor if self.tensor is None else torch.cat([self.tensor, tensor], dim=self.axis), None)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        if self.tensor is None:
            return []
        return [self.tensor.narrow(self.axis, (a - self.start) * self.unit, (b - a) * self.unit)]

    def release(self, row: int) -> None:
        """Free the rows above this one."""
        if row >= self.end:
            self.start = self.end
            self.close()
        elif row > self.start:
            assert self.tensor is not None
            freed = (row - self.start) * self.unit
            # A copy of the few remaining rows: a view would keep all of them in memory until the next slab.
            remaining = self.tensor.narrow(self.axis, freed, self.tensor.shape[self.axis] - freed)
            lease = self._arena.lease(tuple(remaining.shape), remaining.dtype)
            self._put(lease.tensor.copy_(remaining), lease)
            self.start = row

    def close(self) -> None:
        """Free all rows, and return their memory."""
        self._put(None, None)

    def _put(self, tensor: Tensor | None, lease: Lease | None) -> None:
        """Replace the tensor, and return the memory of the previous one."""
        before, self.tensor, self._lease = self._lease, tensor, lease
        if before is not None and before is not lease:
            before.release()


class PaddedRowBuffer(RowBuffer):
    """A buffer of padded rows that only convolutions read: it is reused from slab to slab, and the few remaining rows
    are moved to its top."""

    def __init__(self, axis: int, unit: int, start: int, arena: Arena) -> None:
        super().__init__(axis, unit, start, arena)
        self._freed = 0

    def grow(self, rows: int, like: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, bool]:
        """Add uninitialized rows at the bottom, in one contiguous tensor with the existing rows.

        Args:
            rows: the number of new rows.
            like: the shape of the value, except for the rows.

        Returns:
            All rows; the new rows, to be filled; and whether the memory is new, so that it holds no previous padding.
        """
        kept = 0 if self.tensor is None else self.tensor.shape[self.axis]
        size = list(like)
        size[self.axis] = kept + rows * self.unit
        lease = self._lease
        fresh = lease is None or not self._fits(lease.tensor, size, dtype) or kept > self._freed
        if lease is None or fresh:
            lease = self._arena.lease(tuple(size), dtype)
        buffer = lease.tensor
        if self.tensor is not None:
            buffer.narrow(self.axis, 0, kept).copy_(self.tensor)
        self._put(buffer, lease)
        return buffer, buffer.narrow(self.axis, kept, rows * self.unit), fresh

    def release(self, row: int) -> None:
        if row >= self.end:
            super().release(row)
        elif row > self.start:
            assert self.tensor is not None
            self._freed = (row - self.start) * self.unit
            self.tensor = self.tensor.narrow(self.axis, self._freed, self.tensor.shape[self.axis] - self._freed)
            self.start = row

    @staticmethod
    def _fits(buffer: Tensor, size: list[int], dtype: torch.dtype) -> bool:
        return list(buffer.shape) == size and buffer.dtype == dtype
