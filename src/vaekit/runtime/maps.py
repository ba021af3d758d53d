"""Maps that are kept between stages, in bands of rows: in memory as far as they may, else in a file.

Bands are let go as soon as the last stage that reads them has passed, so that a map makes room for the one that is made
of it. A band that does not fit goes to the file at once: it is the one that will be read last.
"""

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.errors import BadPlan


@dataclass
class Band:
    """Some rows of a map: a tensor, or a place in the file."""

    start: int
    end: int
    tensor: Tensor | None
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Store:
    """Where bands are kept.

    Args:
        limit: bytes of bands that may be in memory; None for any.
        folder: where the file is made if it is needed. It has no name there: nothing is left of it, whatever happens.
    """

    def __init__(self, limit: int | None = None, folder: Path | None = None) -> None:
        self.limit = limit
        self.held = 0
        self.written = 0
        self._folder = folder
        self._file: int | None = None
        self._end = 0
        self._free: list[tuple[int, int]] = []

    def put(self, start: int, tensor: Tensor, rows: int) -> Band:
        """Keep some rows."""
        band = Band(start, start + rows, tensor, 0, tuple(tensor.shape), tensor.dtype)
        if self.limit is not None and self.held + band.nbytes > self.limit:
            self._write(band, tensor)
        else:
            self.held += band.nbytes
        return band

    def get(self, band: Band, device: torch.device) -> Tensor:
        """The rows of a band."""
        if band.tensor is not None:
            return band.tensor
        assert self._file is not None
        raw = torch.empty(band.shape, dtype=band.dtype)
        view = memoryview(raw.view(-1).view(torch.uint8).numpy())
        done = 0
        while done < len(view):
            done += os.preadv(self._file, [view[done:]], band.offset + done)
        return raw.to(device)

    def drop(self, band: Band) -> None:
        """Let a band go."""
        if band.tensor is not None:
            self.held -= band.nbytes
            band.tensor = None
        else:
            self._free.append((band.offset, band.nbytes))

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, band: Band, tensor: Tensor) -> None:
        if self._file is None:
            self._file = nameless_file(self._folder)
        band.offset = self._place(band.nbytes)
        band.tensor = None
        view = memoryview(tensor.contiguous().cpu().view(-1).view(torch.uint8).numpy())
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._file, view[done:], band.offset + done)
        except OSError as error:
            raise BadPlan(
                f"The memory that the plan allows is too small, and {self._folder or tempfile.gettempdir()} cannot "
                f"hold what does not fit: {error.strerror}.",
                f"Expected room for {self._end / 2**30:.1f} GiB there.",
                "Allow more memory, or set VAEKIT_SCRATCH to a folder with more room.",
            ) from error
        self.written += band.nbytes

    def _place(self, size: int) -> int:
        """Where in the file there is room: where a band was, or at its end."""
        for i, (offset, free) in enumerate(self._free):
            if free == size:
                del self._free[i]
                return offset
        page = mmap.PAGESIZE
        self._end = -(-self._end // page) * page + size
        return self._end - size


def nameless_file(folder: Path | None) -> int:
    """A new file without a name, to read and write."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    file, name = tempfile.mkstemp(dir=folder, prefix="vaekit-")
    os.unlink(name)
    return file


class Map:
    """A value that is kept, as far as it was made and is still needed."""

    def __init__(self, store: Store, axis: int, unit: int, device: torch.device) -> None:
        self.axis = axis
        self.unit = unit
        self._store = store
        self._device = device
        self._bands: list[Band] = []

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom."""
        start = self._bands[-1].end if self._bands else 0
        self._bands.append(self._store.put(start, tensor, tensor.shape[self.axis] // self.unit))

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b, in as many tensors as there are bands."""
        found = []
        for band in self._bands:
            first, last = max(a, band.start), min(b, band.end)
            if first < last:
                tensor = self._store.get(band, self._device)
                found.append(
                    tensor.narrow(self.axis, (first - band.start) * self.unit, (last - first) * self.unit)
                )
        return found

    def release(self, row: int) -> None:
        """Rows above this one are not needed any more."""
        while self._bands and self._bands[0].end <= row:
            self._store.drop(self._bands.pop(0))


class Whole:
    """A value that is kept in one tensor, and filled row by row where it has rows."""

    def __init__(self, tensor: Tensor, axis: int | None, unit: int) -> None:
        self.tensor = tensor
        self.axis = axis
        self.unit = unit
        self._filled = 0

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom."""
        assert self.axis is not None
        size = tensor.shape[self.axis]
        self.tensor.narrow(self.axis, self._filled, size).copy_(tensor)
        self._filled += size

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        assert self.axis is not None
        return [self.tensor.narrow(self.axis, a * self.unit, (b - a) * self.unit)]

    def release(self, row: int) -> None:
        """Nothing is let go before all is."""


class Strip:
    """Rows of a value that its users in the same stage still need: new ones come at the bottom, old ones go."""

    def __init__(self, axis: int, unit: int) -> None:
        self.axis = axis
        self.unit = unit
        self.start = 0
        self.tensor: Tensor | None = None

    @property
    def end(self) -> int:
        return self.start + (0 if self.tensor is None else self.tensor.shape[self.axis] // self.unit)

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom."""
        if self.tensor is None or not self.tensor.shape[self.axis]:
            self.tensor = tensor
        else:
            self.tensor = torch.cat([self.tensor, tensor], dim=self.axis)

    def grow(self, rows: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Add rows without values at the bottom, in one contiguous tensor with those that are there.

        Returns:
            the new rows, to be filled.
        """
        kept = 0 if self.tensor is None else self.tensor.shape[self.axis]
        size = list(shape)
        size[self.axis] = kept + rows * self.unit
        grown = torch.empty(size, dtype=dtype, device=device)
        if self.tensor is not None and kept:
            grown.narrow(self.axis, 0, kept).copy_(self.tensor)
        self.tensor = grown
        return grown.narrow(self.axis, kept, rows * self.unit)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        if self.tensor is None:
            return []
        return [self.tensor.narrow(self.axis, (a - self.start) * self.unit, (b - a) * self.unit)]

    def release(self, row: int) -> None:
        """Rows above this one are not needed any more."""
        if row >= self.end:
            self.start, self.tensor = self.end, None
        elif row > self.start:
            assert self.tensor is not None
            gone = (row - self.start) * self.unit
            self.tensor = self.tensor.narrow(self.axis, gone, self.tensor.shape[self.axis] - gone)
            self.start = row
