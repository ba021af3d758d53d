"""Run whole networks: for small images on a CPU, where slabs do not pay off, and for all that fits on a GPU.

On a GPU several items go through at once, and `compiled.py` compiles the sizes that keep coming. On a CPU the network
runs as it is, item by item, so that a batch of one is one of a batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vaekit.runtime.compiled import CompiledNetwork
from vaekit.runtime.memory import SHARE_OF_FREE, free_memory, kind_of, out_of_memory
from vaekit.runtime.plan import NCNN, Notes, Plan
from vaekit.runtime.streaming.forecast import whole_peak
from vaekit.runtime.streaming.planning import LEAST_PRODUCTS, products
from vaekit.runtime.traced_network import TracedNetwork
from vaekit.runtime.upsampling import with_enlarged_convs


class WholeRunner:
    """Runs a network that is known as a whole.

    Args:
        traced: the network.
        plan: what it may take, and how many items at once.
        give_back: frees all memory that is kept for the next image.
        notes: where it says what did not go as planned.
    """

    def __init__(self, traced: TracedNetwork, plan: Plan, give_back: Callable[[], None], notes: Notes) -> None:
        self.traced, self.device, self.notes = traced, traced.device, notes
        self.budget = plan.budget
        self._give_back = give_back
        self._asked_for_slabs = plan.backend == NCNN
        self._batch_size = plan.batch_size
        self._compiled: CompiledNetwork | None = None
        self._most: dict[tuple[int, int], int] = {}
        self._each: dict[tuple[int, int], int] = {}
        self._small: dict[tuple[int, int], bool] = {}

    def items_at_once(self, size: tuple[int, int], fixed: int) -> int:
        """How many items of this size go through at once; 0 where they are done in slabs.

        Args:
            size: rows and columns of the latent.
            fixed: bytes that the caller takes beside the run.
        """
        if compiles(self.device):
            return 0 if self.budget is not None else self._as_many_as_fit(size, fixed, self._batch_size)
        return 0 if self._asked_for_slabs or not self._is_small(size) else self._as_many_as_fit(size, fixed, 1)

    def peak(self, size: tuple[int, int], fixed: int) -> int:
        """Bytes that a run of so many is expected to take at the most."""
        return self.items_at_once(size, fixed) * self._peak_of_one(size) + fixed

    def run(self, items: Tensor, size: tuple[int, int], fixed: int) -> Tensor | None:
        """What the network makes of items; None where they have to be done in slabs."""
        while at_once := self.items_at_once(size, fixed):
            try:
                made = [self._run(each) for each in items.split(at_once)]
                return made[0] if len(made) == 1 else torch.cat(made)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            self._give_back()
            fewer = self._most[size] = min(at_once, len(items)) // 2
            done = f"processed {fewer} at once" if fewer else "processed in slabs"
            self.notes.tell(f"ran out of {kind_of(self.device)} at {self.traced.size_words(size)}: {done}")
        return None

    def _is_small(self, size: tuple[int, int]) -> bool:
        """Whether slabs would not pay; found out once for each size, for small images take no longer than that."""
        if size not in self._small:
            self._small[size] = products(self.traced.stages(size)) < LEAST_PRODUCTS
        return self._small[size]

    def _peak_of_one(self, size: tuple[int, int]) -> int:
        """Bytes that one item is expected to take at the most; found out once for each size."""
        if size not in self._each:
            self._each[size] = whole_peak(self.traced.stages(size))
        return self._each[size]

    def _as_many_as_fit(self, size: tuple[int, int], fixed: int, most: int) -> int:
        items = min(most, self._most.get(size, most))
        free = int(SHARE_OF_FREE * free_memory(self.device))
        each, allowed = self._peak_of_one(size), min(free, self.budget or free) - fixed
        while items and items * each > allowed:
            items //= 2  # rather than to as many as fit, which would be another shape each time
        return items

    def _run(self, items: Tensor) -> Tensor:
        if not compiles(self.device):
            return self.traced.network(items)
        if self._compiled is None:
            rewritten = with_enlarged_convs(self.traced.network, self.traced.trace, self.traced.names)
            self._compiled = CompiledNetwork(self.traced.network, rewritten, notes=self.notes)
        return self._compiled.run(items)


def compiles(device: torch.device) -> bool:
    """Whether networks of any size are fastest whole on a device: a GPU's maps need no cache, and what runs there is
    compiled."""
    return device.type == "cuda"
