"""Memory for bands and slabs, taken again and again.

A page that a process touches for the first time costs more than writing it ten times (0.7 ms for each MiB on the
machine this was measured on, where copying takes 0.05), and what an allocator keeps in many sizes adds up to much
more than is in use. So what is large lies in rooms of its own, which are used again as soon as no tensor lies in them.
"""

import math
import mmap
import sys

import torch
from torch import Tensor

UNUSED = 3
"""References to a room that no tensor lies in: the list's, the loop's and the question's own."""


class Rooms:
    """Takes and keeps memory on one device; only the CPU's is managed here, for torch does so on others.

    Args:
        device: where tensors are to be.
        sparing: whether a room of a new size costs all free ones of other sizes; else they are kept until `trim`.
    """

    def __init__(self, device: torch.device, sparing: bool) -> None:
        self._device = device
        self._sparing = sparing
        self._rooms: dict[int, list[mmap.mmap]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor without values, in a room that is free, or a new one."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._device.type != "cpu" or nbytes < mmap.PAGESIZE:
            return torch.empty(shape, dtype=dtype, device=self._device)
        rooms = self._rooms.setdefault(nbytes, [])
        room = next((room for room in rooms if sys.getrefcount(room) <= UNUSED), None)
        if room is None:
            if self._sparing:
                self.trim()
            room = mmap.mmap(-1, nbytes)
            self._rooms.setdefault(nbytes, []).append(room)
        return torch.frombuffer(room, dtype=dtype).view(shape)

    def trim(self) -> None:
        """Give back all rooms that no tensor lies in."""
        for nbytes, rooms in list(self._rooms.items()):
            self._rooms[nbytes] = [room for room in rooms if sys.getrefcount(room) > UNUSED]
