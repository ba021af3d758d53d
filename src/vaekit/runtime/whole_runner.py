"""Run whole networks: for small images on a CPU, where streaming is not faster, and for all that fits on a GPU.

On a GPU items are batched, and `compiled.py` compiles recurring sizes. On a CPU the network runs uncompiled, item by
item, so that results do not depend on the batch size.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vaekit.runtime.compiled import CompiledNetwork
from vaekit.runtime.memory import SHARE_OF_FREE, free_memory, memory_name, out_of_memory
from vaekit.runtime.plan import NCNN, Notes, Plan
from vaekit.runtime.streaming.forecast import attends_in_parts, whole_peak
from vaekit.runtime.streaming.planning import BASE, LEAST_PRODUCTS, products
from vaekit.runtime.traced_network import TracedNetwork
from vaekit.runtime.upsampling import with_enlarged_convs

CACHED_SIZES = 10_000
"""For which a number is kept."""


class WholeRunner:
    """Runs a traced network as a whole.

    Args:
        traced: the network.
        plan: the memory limit, and the batch size.
        release_memory: frees all memory that is cached for the next image.
        notes: receives deviations from the plan.
    """

    def __init__(self, traced: TracedNetwork, plan: Plan, release_memory: Callable[[], None], notes: Notes) -> None:
        self.traced, self.device, self.notes = traced, traced.device, notes
        self.budget = plan.budget
        self._release_memory = release_memory
        self._prefers_slabs = plan.backend == NCNN
        self._batch_size = plan.batch_size
        self._compiled: CompiledNetwork | None = None
        self._most: dict[tuple[int, int], int] = {}
        self._each: dict[tuple[int, int], int] = {}
        self._small: dict[tuple[int, int], bool] = {}

    def items_at_once(self, size: tuple[int, int], fixed: int) -> int:
        """The batch size for items of this size; 0 if they are to be streamed.

        Args:
            size: rows and columns of the latent.
            fixed: memory of the caller in bytes.
        """
        if compiles(self.device):
            return 0 if self.budget is not None else self._as_many_as_fit(size, fixed, self._batch_size)
        return self._as_many_as_fit(size, fixed, 1) if self._is_preferred(size) else 0

    def peak(self, size: tuple[int, int], fixed: int) -> int:
        """The predicted peak memory of a batch in bytes."""
        return self._peak_of(self.items_at_once(size, fixed), size, fixed)

    def least(self, size: tuple[int, int], fixed: int) -> int | None:
        """The smallest budget in bytes with which an item of this size runs whole; None if it never does."""
        never = compiles(self.device) or not self._is_preferred(size) or self._most.get(size) == 0
        return None if never else self._peak_of(1, size, fixed)

    def run(self, items: Tensor, size: tuple[int, int], fixed: int) -> Tensor | None:
        """Run the network on items; None if they have to be streamed."""
        while at_once := self.items_at_once(size, fixed):
            try:
                outputs = [self._run(each) for each in items.split(at_once)]
                return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            self._release_memory()
            fewer = self._most[size] = min(at_once, len(items)) // 2
            reaction = f"processed {fewer} at once" if fewer else "processed in slabs"
            self.notes.add(f"ran out of {memory_name(self.device)} at {self.traced.item_size(size)}: {reaction}")
        return None

    def _is_preferred(self, size: tuple[int, int]) -> bool:
        """Whether an item of this size runs whole on a CPU if it fits."""
        return not self._prefers_slabs and self._is_small(size)

    def _is_small(self, size: tuple[int, int]) -> bool:
        """Whether streaming would not be faster; cached for each size, since this takes as long as a small image."""
        if size not in self._small:
            forget_many(self._small)
            self._small[size] = products(self.traced.stages(size)) < LEAST_PRODUCTS
        return self._small[size]

    def _peak_of_one(self, size: tuple[int, int]) -> int:
        """The predicted peak memory of the network for one item in bytes; cached for each size."""
        if size not in self._each:
            forget_many(self._each)
            self._each[size] = whole_peak(self.traced.trace, size, self.device)
        return self._each[size]

    def _peak_of(self, items: int, size: tuple[int, int], fixed: int) -> int:
        """The predicted peak memory of items at once in bytes."""
        return items * self._peak_of_one(size) + fixed + (0 if compiles(self.device) else BASE)

    def _as_many_as_fit(self, size: tuple[int, int], fixed: int, most: int) -> int:
        items = min(most, self._most.get(size, most))
        free = int(SHARE_OF_FREE * free_memory(self.device))
        allowed = min(free, self.budget or free)
        while items and self._peak_of(items, size, fixed) > allowed:
            items //= 2  # halved rather than fitted exactly, which would give many different shapes
        return items

    def _run(self, items: Tensor) -> Tensor:
        if not compiles(self.device):
            with AttentionInParts():
                return self.traced.network(items)
        if self._compiled is None:
            rewritten = with_enlarged_convs(self.traced.network, self.traced.trace, self.traced.names)
            self._compiled = CompiledNetwork(self.traced.network, rewritten, notes=self.notes)
        return self._compiled.run(items)


class AttentionInParts(TorchFunctionMode):
    """Runs attention on contiguous tensors where the products of all queries with all keys would take much memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        attends = func is F.scaled_dot_product_attention and len(args) >= 3
        if attends and attends_in_parts(args[0].shape, args[1].shape):
            args = (*(each.contiguous() for each in args[:3]), *args[3:])
        return func(*args, **(kwargs or {}))


def forget_many(cached: dict[tuple[int, int], Any]) -> None:
    """Forget the results for all sizes if there are many: a server may be asked for any size."""
    if len(cached) >= CACHED_SIZES:
        cached.clear()


def compiles(device: torch.device) -> bool:
    """Whether networks of any size run fastest as a whole, compiled, on a device: a GPU does not depend on caches."""
    return device.type == "cuda"
