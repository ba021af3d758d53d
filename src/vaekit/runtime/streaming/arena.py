"""Memory buffers that are leased, returned and used again.

A page that a process touches for the first time costs more than writing it ten times (0.7 ms for each MiB on the
machine this was measured on, where copying takes 0.05), and what an allocator keeps in many sizes adds up to much more
than is in use. So large buffers are kept and used again. A buffer is free when its lease was returned: nothing counts
references, so whoever returns a lease must know that no view of its tensor will be read again.
"""

import math
import mmap
import sys
import threading
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

BAND_SLACK = 1.5
"""How much larger than needed a buffer for bands may be. They are of one size, nearly, and stay longer: half a buffer
that is not used would be missed."""
SLAB_SLACK = 3.0
"""How much larger a buffer for slabs may be: the first of a stage are larger, for the halos of all that follows."""


class Lease:
    """The right to use a buffer until it is released, once. As a context manager it is released at the end.

    Args:
        arena: where the buffer came from and goes back to.
        tensor: the buffer, contiguous and in the shape that was asked for.
    """

    __slots__ = ("_arena", "_tensor")

    def __init__(self, arena: "Arena", tensor: Tensor) -> None:
        self._arena = arena
        self._tensor: Tensor | None = tensor

    @property
    def tensor(self) -> Tensor:
        """The leased memory.

        Raises:
            RuntimeError: the lease was released.
        """
        if self._tensor is None:
            raise RuntimeError("this lease was released: its memory may be in use elsewhere")
        return self._tensor

    def release(self) -> None:
        """Return the buffer. Views of the tensor must not be used any more.

        Raises:
            RuntimeError: the lease was released before.
        """
        tensor, self._tensor = self.tensor, None
        self._arena.take_back(tensor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Arena:
    """Leases memory on one device, and keeps what is returned for the next lease.

    Only the CPU's memory is kept here; on other devices, and below a page, torch's own allocator does that, and a
    returned lease only drops its tensor. Every method may be called from several threads. A lease belongs to one of
    them at a time.

    Args:
        device: where the memory is.
        slack: how many times larger than needed a buffer may be.
    """

    def __init__(self, device: torch.device, slack: float = BAND_SLACK) -> None:
        self.limit = sys.maxsize
        """Bytes that all buffers may take together, before free ones are given back to the system for a new one."""
        self.allocated = 0
        """Bytes of all buffers, leased or free."""
        self._device = device
        self._slack = slack
        self._free: dict[int, list[mmap.mmap]] = {}
        """For each size of buffers that are leased or free, the free ones."""
        self._leased: dict[int, mmap.mmap | None] = {}
        """The buffer of each outstanding lease, by its address; None where torch's allocator owns it."""
        self._lock = threading.Lock()

    @property
    def outstanding(self) -> int:
        """How many leases were not returned yet."""
        return len(self._leased)

    def lease(self, shape: tuple[int, ...], dtype: torch.dtype) -> Lease:
        """Lease memory for a tensor; its values are arbitrary.

        Raises:
            OSError: the system has no memory left (ENOMEM).
            RuntimeError: torch's allocator has none left (see `out_of_memory`).
        """
        count = math.prod(shape)
        nbytes = count * dtype.itemsize
        buffer = None
        with self._lock:
            if self._device.type == "cpu" and nbytes >= mmap.PAGESIZE:
                buffer = self._taken(nbytes)
                # A new tensor for each lease: one that was made in inference mode cannot be written elsewhere.
                flat = torch.frombuffer(buffer, dtype=dtype, count=count)
            else:
                # One element at least, so that the memory has an address of its own.
                flat = torch.empty(max(1, count), dtype=dtype, device=self._device)[:count]
            self._leased[address(flat)] = buffer
        return Lease(self, flat.view(shape))

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory that is leased out here: it is a lease's tensor, or a view of one."""
        return address(tensor) in self._leased

    def take_back(self, tensor: Tensor) -> None:
        """Make the memory of a lease free again; `Lease.release` calls this."""
        with self._lock:
            buffer = self._leased.pop(address(tensor))
            if buffer is not None:
                self._free[len(buffer)].append(buffer)

    def trim(self, limit: int) -> None:
        """Give free buffers back to the system, until all take no more than so many bytes, as far as that goes."""
        with self._lock:
            self._trim(limit)
            leased = {len(buffer) for buffer in self._leased.values() if buffer is not None}
            self._free = {size: free for size, free in self._free.items() if free or size in leased}

    def _taken(self, nbytes: int) -> mmap.mmap:
        """The smallest free buffer that fits, or a new one."""
        fitting = (size for size, free in self._free.items() if free and nbytes <= size <= self._slack * nbytes)
        size = min(fitting, default=None)
        if size is not None:
            return self._free[size].pop()
        self._trim(self.limit - nbytes)
        buffer = mmap.mmap(-1, nbytes, access=mmap.ACCESS_COPY)  # private: a forked process must not share it
        self._free.setdefault(nbytes, [])
        self.allocated += nbytes
        return buffer

    def _trim(self, limit: int) -> None:
        """Size by size, in the order in which they were first asked for: what comes early in a run is large."""
        for size, free in self._free.items():
            if self.allocated <= limit:
                return
            self.allocated -= size * len(free)
            free.clear()


def address(tensor: Tensor) -> int:
    """Where the memory begins that a tensor or a view of it lies in."""
    return tensor.untyped_storage().data_ptr()
