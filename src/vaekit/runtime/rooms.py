"""Memory for bands and slabs, taken again and again.

A page that a process touches for the first time costs more than writing it ten times (0.7 ms for each MiB on the
machine this was measured on, where copying takes 0.05), and what an allocator keeps in many sizes adds up to much
more than is in use. So what is large lies in rooms of its own, which are used again as soon as no tensor lies in them.
"""

import math
import mmap
import sys
import threading

import torch
from torch import Tensor

UNUSED = 3
"""References to a room that no tensor lies in: the list's, the loop's and the question's own."""

ROOMY = 3.0
"""How much larger than needed a room for slabs may be: the first of a stage are larger, for the halos of all that
follows. Bands are of one size, nearly, and stay longer: half a room that is not used would be missed."""
SNUG = 1.5
"""How much larger a room for bands may be."""


class Rooms:
    """Takes and keeps memory on one device; only the CPU's is managed here, for torch does so on others.

    Several threads may take some.

    Args:
        device: where.
        roomy: how much larger than needed a room may be.
    """

    def __init__(self, device: torch.device, roomy: float = SNUG) -> None:
        self.most = sys.maxsize
        """Bytes that rooms may take together, before free ones are given back for a new one."""
        self._device = device
        self._roomy = roomy
        self._rooms: dict[int, list[mmap.mmap]] = {}
        self.taken = 0
        self._lock = threading.RLock()

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor without values, in a room that is free, or a new one."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._device.type != "cpu" or nbytes < mmap.PAGESIZE:
            return torch.empty(shape, dtype=dtype, device=self._device)
        with self._lock:
            fitting = sorted(size for size in self._rooms if nbytes <= size <= self._roomy * nbytes)
            free = (room for size in fitting for room in self._rooms[size] if sys.getrefcount(room) <= UNUSED)
            room = next(free, None)
            if room is None:
                self.trim(self.most - nbytes)
                room = mmap.mmap(-1, nbytes)
                self._rooms.setdefault(nbytes, []).append(room)
                self.taken += nbytes
            return torch.frombuffer(room, dtype=dtype, count=math.prod(shape)).view(shape)

    def trim(self, most: int) -> None:
        """Give back rooms that no tensor lies in, until all take no more than so many bytes, as far as that goes."""
        with self._lock:
            for nbytes, rooms in self._rooms.items():
                if self.taken <= most:
                    return
                kept = [room for room in rooms if sys.getrefcount(room) > UNUSED]
                self.taken -= nbytes * (len(rooms) - len(kept))
                rooms[:] = kept
