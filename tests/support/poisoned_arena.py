"""An arena whose memory holds NaN when it is leased and again when it is returned, and a ledger of all leases."""

import threading

import torch
from torch import Tensor

from vaekit.runtime.streaming.arena import Arena, Lease


class Ledger:
    """What is leased now, by any of the arenas that it makes, and what went wrong."""

    def __init__(self) -> None:
        self.handed_out = 0
        self.arenas: list[Arena] = []
        self.overlaps: list[tuple[int, int]] = []
        """The bytes of each lease that shared memory with another."""
        self._outstanding: dict[int, int] = {}
        """For each lease, by the address of its first byte, one past its last byte."""
        self._lock = threading.Lock()

    def make_arena(self, device: torch.device, slack: float) -> Arena:
        """An arena as the engine asks for it."""
        self.arenas.append(PoisonedArena(device, slack, self))
        return self.arenas[-1]

    @property
    def outstanding(self) -> int:
        """How many leases were not returned, as it was told and as the arenas say."""
        return max(len(self._outstanding), sum(arena.outstanding for arena in self.arenas))

    def taken(self, tensor: Tensor) -> None:
        first, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        with self._lock:
            self.handed_out += 1
            if any(first < other_end and other < end for other, other_end in self._outstanding.items()):
                self.overlaps.append((first, end))
            self._outstanding[first] = end

    def returned(self, tensor: Tensor) -> None:
        with self._lock:
            del self._outstanding[tensor.data_ptr()]


class PoisonedArena(Arena):
    """Leases memory full of NaN."""

    def __init__(self, device: torch.device, slack: float, ledger: Ledger) -> None:
        super().__init__(device, slack)
        self._ledger = ledger

    def lease(self, shape: tuple[int, ...], dtype: torch.dtype) -> Lease:
        lease = super().lease(shape, dtype)
        self._ledger.taken(lease.tensor)
        poison(lease.tensor)
        return lease

    def take_back(self, tensor: Tensor) -> None:
        poison(tensor)
        self._ledger.returned(tensor)
        super().take_back(tensor)


def poison(tensor: Tensor) -> None:
    """Fill with bytes that are NaN in every floating-point dtype."""
    tensor.view(-1).view(torch.uint8).fill_(0xFF)
