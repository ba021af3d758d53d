"""Memory buffers that are leased, returned and reused.

The first write to a page is slower than ten later ones (0.7 ms per MiB where this was measured, and 0.05 for a copy),
and an allocator that caches many sizes holds much more memory than is in use. Hence large buffers are reused. A buffer
is free once its lease is returned: references are not counted, so no view of its tensor may be read after that.
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
"""The maximum ratio of a buffer for bands to the required size. Bands have nearly equal sizes and are kept longer."""
SLAB_SLACK = 3.0
"""The same ratio for slabs: the first slabs of a stage are larger, as they include the halos of all later steps."""


class Lease:
    """The right to use a buffer until it is released, exactly once. A context manager releases it at the end.

    Args:
        arena: the owner of the buffer.
        tensor: the buffer, contiguous and in the requested shape.
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
            RuntimeError: the lease was released already.
        """
        tensor, self._tensor = self.tensor, None
        self._arena.take_back(tensor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Arena:
    """Leases memory on one device, and reuses returned buffers.

    Only CPU memory is cached here; on other devices, and for less than a page, torch's allocator does that, and a
    returned lease only drops its tensor. Methods are thread-safe; a lease is used by one thread at a time.

    Args:
        device: of the memory.
        slack: the maximum ratio of a buffer to the required size.
    """

    def __init__(self, device: torch.device, slack: float = BAND_SLACK) -> None:
        self.limit = sys.maxsize
        """The total size of buffers in bytes above which free ones are returned to the system before a new
        allocation."""
        self.allocated = 0
        """The total size of buffers in bytes, leased or free."""
        self._device = device
        self._slack = slack
        self._free: dict[int, list[mmap.mmap]] = {}
        """The free buffers by size; a size with leased buffers only has an empty list."""
        self._leased: dict[int, mmap.mmap | None] = {}
        """The buffer of each outstanding lease by address; None if torch's allocator owns it."""
        self._lock = threading.Lock()

    @property
    def outstanding(self) -> int:
        """The number of leases that were not returned yet."""
        return len(self._leased)

    def lease(self, shape: tuple[int, ...], dtype: torch.dtype) -> Lease:
        """Lease memory for a tensor; its values are arbitrary.

        Raises:
            OSError: the system is out of memory (ENOMEM).
            RuntimeError: torch's allocator is out of memory (see `out_of_memory`).
        """
        count = math.prod(shape)
        nbytes = count * dtype.itemsize
        buffer = None
        with self._lock:
            if self._device.type == "cpu" and nbytes >= mmap.PAGESIZE:
                buffer = self._buffer_of(nbytes)
                # A new tensor for each lease: one created in inference mode cannot be modified outside it.
                flat = torch.frombuffer(buffer, dtype=dtype, count=count)
            else:
                # At least one element, so that the memory has a unique address.
                flat = torch.empty(max(1, count), dtype=dtype, device=self._device)[:count]
            self._leased[address(flat)] = buffer
        return Lease(self, flat.view(shape))

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is in leased memory of this arena: the tensor of a lease, or a view of one."""
        return address(tensor) in self._leased

    def take_back(self, tensor: Tensor) -> None:
        """Free the memory of a lease; called by `Lease.release`."""
        with self._lock:
            buffer = self._leased.pop(address(tensor))
            if buffer is not None:
                self._free[len(buffer)].append(buffer)

    def trim(self, limit: int) -> None:
        """Return free buffers to the system until the total size is at most `limit` bytes, if possible."""
        with self._lock:
            self._trim(limit)
            leased = {len(buffer) for buffer in self._leased.values() if buffer is not None}
            self._free = {size: free for size, free in self._free.items() if free or size in leased}

    def _buffer_of(self, nbytes: int) -> mmap.mmap:
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
        """Free buffers by size, in the order of their first allocation: those of the first stages are large."""
        for size, free in self._free.items():
            if self.allocated <= limit:
                return
            self.allocated -= size * len(free)
            free.clear()


def address(tensor: Tensor) -> int:
    """The address of the memory of a tensor; equal for its views."""
    return tensor.untyped_storage().data_ptr()
