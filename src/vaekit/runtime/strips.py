"""Rows that are in work: what the steps of a stage make for each other, as long as it is needed."""

import torch
from torch import Tensor

from vaekit.runtime.rooms import Rooms


class Strip:
    """Rows of a value that its users in the same stage still need: new ones come at the bottom, old ones go.

    Args:
        axis, unit: where the rows are.
        start: the first row there will be.
        rooms: where its memory comes from.
    """

    def __init__(self, axis: int, unit: int, start: int, rooms: Rooms) -> None:
        self.axis = axis
        self.unit = unit
        self.start = start
        self.tensor: Tensor | None = None
        self._rooms = rooms

    @property
    def end(self) -> int:
        return self.start + (0 if self.tensor is None else self.tensor.shape[self.axis] // self.unit)

    def append(self, tensor: Tensor) -> None:
        """Add rows at the bottom."""
        self.tensor = tensor if self.tensor is None else torch.cat([self.tensor, tensor], dim=self.axis)

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
            # A copy of the few that stay: a view would keep all of them in memory until the next slab.
            left = self.tensor.narrow(self.axis, gone, self.tensor.shape[self.axis] - gone)
            self.tensor = self._rooms.take(tuple(left.shape), left.dtype).copy_(left)
            self.start = row


class Frame(Strip):
    """A strip of padded rows, which convolutions read and nobody else: it stays in one place from slab to slab, and the
    few rows that stay are moved to its top."""

    def __init__(self, axis: int, unit: int, start: int, rooms: Rooms) -> None:
        super().__init__(axis, unit, start, rooms)
        self._room: Tensor | None = None
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
        room = self._room
        fresh = room is None or list(room.shape) != size or room.dtype != dtype or kept > self._gone
        if room is None or fresh:
            room = self._rooms.take(tuple(size), dtype)
        if self.tensor is not None:
            room.narrow(self.axis, 0, kept).copy_(self.tensor)
        self.tensor = self._room = room
        return room, room.narrow(self.axis, kept, rows * self.unit), fresh

    def release(self, row: int) -> None:
        if row >= self.end:
            self.start, self.tensor, self._room = self.end, None, None
        elif row > self.start:
            assert self.tensor is not None
            self._gone = (row - self.start) * self.unit
            self.tensor = self.tensor.narrow(self.axis, self._gone, self.tensor.shape[self.axis] - self._gone)
            self.start = row
