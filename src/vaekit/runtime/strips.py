"""Rows that are in work: what the steps of a stage make for each other, as long as it is needed."""

import torch
from torch import Tensor

from vaekit.runtime.arena import Arena, Lease


class Strip:
    """Rows of a value that its users in the same stage still need: new ones come at the bottom, old ones go.

    Only one thread may use it. Its rows may lie in leased memory: what `pieces` returns is valid until the next change.

    Args:
        axis, unit: where the rows are.
        start: the first row there will be.
        arena: where its memory comes from.
    """

    def __init__(self, axis: int, unit: int, start: int, arena: Arena) -> None:
        self.axis = axis
        self.unit = unit
        self.start = start
        self.tensor: Tensor | None = None
        self._arena = arena
        self._lease: Lease | None = None
        """Of the memory that the tensor lies in, where that is not torch's own."""

    @property
    def end(self) -> int:
        return self.start + (0 if self.tensor is None else self.tensor.shape[self.axis] // self.unit)

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom; they must not be leased memory, for they are kept where they are if they can be."""
        self._put(tensor if self.tensor is None else torch.cat([self.tensor, tensor], dim=self.axis), None)

    def pieces(self, a: int, b: int) -> list[Tensor]:
        """Rows a..b."""
        if self.tensor is None:
            return []
        return [self.tensor.narrow(self.axis, (a - self.start) * self.unit, (b - a) * self.unit)]

    def release(self, row: int) -> None:
        """Rows above this one are not needed any more."""
        if row >= self.end:
            self.start = self.end
            self.close()
        elif row > self.start:
            assert self.tensor is not None
            gone = (row - self.start) * self.unit
            # A copy of the few that stay: a view would keep all of them in memory until the next slab.
            left = self.tensor.narrow(self.axis, gone, self.tensor.shape[self.axis] - gone)
            lease = self._arena.lease(tuple(left.shape), left.dtype)
            self._put(lease.tensor.copy_(left), lease)
            self.start = row

    def close(self) -> None:
        """Let all rows go, and return their memory."""
        self._put(None, None)

    def _put(self, tensor: Tensor | None, lease: Lease | None) -> None:
        """Have other memory in place of what there is, which is returned."""
        before, self.tensor, self._lease = self._lease, tensor, lease
        if before is not None and before is not lease:
            before.release()


class Frame(Strip):
    """A strip of padded rows, which convolutions read and nobody else: it stays in one place from slab to slab, and the
    few rows that stay are moved to its top."""

    def __init__(self, axis: int, unit: int, start: int, arena: Arena) -> None:
        super().__init__(axis, unit, start, arena)
        self._gone = 0

    def grow(self, rows: int, like: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, bool]:
        """Add rows without values at the bottom, in one contiguous tensor with those that are there.

        Args:
            rows: how many.
            like: shape of the value, but for the rows.

        Returns:
            all rows; the new ones among them, to be filled; and whether they lie elsewhere than the ones before, so
            that nothing of those is left in them.
        """
        kept = 0 if self.tensor is None else self.tensor.shape[self.axis]
        size = list(like)
        size[self.axis] = kept + rows * self.unit
        lease = self._lease
        fresh = lease is None or not self._fits(lease.tensor, size, dtype) or kept > self._gone
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
            self._gone = (row - self.start) * self.unit
            self.tensor = self.tensor.narrow(self.axis, self._gone, self.tensor.shape[self.axis] - self._gone)
            self.start = row

    @staticmethod
    def _fits(buffer: Tensor, size: list[int], dtype: torch.dtype) -> bool:
        return list(buffer.shape) == size and buffer.dtype == dtype
