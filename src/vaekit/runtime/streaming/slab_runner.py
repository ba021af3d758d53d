"""Run a network slab by slab, item by item, within the memory limit."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.backends import Backend, Convolvers, TorchBackend
from vaekit.runtime.memory import SHARE_OF_FREE, empty_cache, format_bytes, free_memory, memory_name, out_of_memory
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.plan import AUTO, TORCH, Notes, Plan, all_planned
from vaekit.runtime.streaming.arena import BAND_SLACK, SLAB_SLACK, Arena
from vaekit.runtime.streaming.buffers import Store
from vaekit.runtime.streaming.endpoints import Read, WrittenRows
from vaekit.runtime.streaming.executor import run_stages, stream_stages
from vaekit.runtime.streaming.planning import RunPlan, plan_run
from vaekit.runtime.streaming.schedule import Stages
from vaekit.runtime.traced_network import CACHED_SIZES, TracedNetwork
from vaekit.user_dirs import scratch_folder

Result = TypeVar("Result")
TOLERANCE = 1e-3
"""The maximum difference of a backend's results from torch's, relative to the largest value. Different rounding stays
below 1e-4; wrong results are far above."""
KEPT_BETWEEN_RUNS = 256 << 20
"""The maximum size of buffers for maps that an engine keeps for the next image, in bytes."""


@dataclass(frozen=True)
class Prepared:
    """The stages and the plan for one size."""

    stages: Stages
    plan: RunPlan


class SlabRunner:
    """Streams a traced network, one item at a time.

    Args:
        traced: the network.
        backend: for the convolutions.
        plan: the memory limit and the requested backend.
        guard: for half precision.
        notes: receives deviations from the plan.
        make_arena: device and slack -> the arena (see `Arena`) for the memory of runs.
    """

    def __init__(
        self,
        traced: TracedNetwork,
        backend: Backend,
        plan: Plan,
        guard: OverflowGuard,
        notes: Notes,
        make_arena: Callable[[torch.device, float], Arena] = Arena,
    ) -> None:
        self.traced, self.device, self.guard, self.notes = traced, traced.device, guard, notes
        self.convolvers = Convolvers(backend)
        self.budget = plan.budget
        self._make_arena = make_arena
        self.bands, self.slabs = self._new_arenas()
        self._backend_requested = plan.backend != AUTO
        self._checked = False
        self._shrunk: dict[tuple[int, int], int] = {}
        self._plans: OrderedDict[tuple[tuple[int, int], int, int | None, int, bool], RunPlan] = OrderedDict()

    def run(self, item: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """Run the network on one item; in smaller slabs if memory runs out.

        Raises:
            BadPlan: the backend returns wrong results.
            TooLittleMemory: the limit is too small, or memory ran out even with the smallest slabs.
        """
        if not self._compared:
            self.prepared(size, fixed)  # refuses before anything is run
            self.check_backend()
        while True:
            prepared = self.prepared(size, fixed)
            try:
                return self._streamed(prepared, item)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # Outside the handler: an error that is being handled keeps the tensors of the failed run alive.
            self._shrink(size, fixed, prepared)

    def stream(self, read: Read, make_write: Callable[[], WrittenRows], size: tuple[int, int], fixed: int) -> None:
        """Run the network on one item that is read by ranges of rows, and whose output is written in order.

        Args:
            read: reads a range of rows of the input.
            make_write: makes the receiver of the output, for each attempt.
            size: rows and columns of the latent.
            fixed: memory of the caller in bytes.

        Raises:
            BadPlan: the backend returns wrong results on this machine.
            TooLittleMemory: the limit is too small, or memory ran out after rows were written.
        """
        self.check_backend()
        while True:
            prepared, write = self.prepared(size, fixed, streamed=True), make_write()
            try:
                self._with_store(partial(self._stream_once, prepared, read, write))
                return
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if write.done:
                    raise self._ran_out(size, prepared.plan.peak) from error
            self._shrink(size, fixed, prepared, streamed=True)

    def _stream_once(self, prepared: Prepared, read: Read, write: WrittenRows, store: Store) -> None:
        """Run the network on rows that are read and written, with storage for maps between stages."""
        stream_stages(
            prepared.stages,
            prepared.plan.schedules,
            read,
            write,
            self.device,
            store,
            self.convolvers,
            prepared.plan.ready,
            self.guard,
            self.slabs,
        )

    def prepared(self, size: tuple[int, int], fixed: int, streamed: bool = False) -> Prepared:
        """How an item of this size will run.

        Args:
            size: rows and columns of the latent.
            fixed: memory of the caller in bytes.
            streamed: whether the input is read and the output written by rows.

        Raises:
            TooLittleMemory: the limit is too small for it, or for the comparison of backends before it.
        """
        stages = self.traced.stages(size)
        budget = self._shrunk.get(size, self.budget)
        compared = [] if self._compared else [partial(self.plan, self.traced.trace.example_size, 0, self.budget)]
        plan, *_ = all_planned([partial(self.plan, size, fixed, budget, streamed), *compared])
        free = int(SHARE_OF_FREE * free_memory(self.device))
        if budget is None and plan.peak > free:
            plan = self.plan(size, fixed, free, streamed)
        return Prepared(stages, plan)

    def plan(self, size: tuple[int, int], fixed: int, budget: int | None, streamed: bool = False) -> RunPlan:
        """The fastest plan within a budget, cached."""
        parts = 1 if streamed else self.parts
        key = (size, fixed, budget, parts, streamed)
        if key not in self._plans:
            self._plans[key] = plan_run(self.traced.stages(size), self.convolvers, budget, fixed, parts, streamed)
            if len(self._plans) > CACHED_SIZES:
                self._plans.popitem(last=False)
        return self._plans[key]

    @property
    def parts(self) -> int:
        """The number of parts of a map that run in parallel: one for each of torch's threads on a CPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    @property
    def _compared(self) -> bool:
        """Whether the results of the backend are known to be right."""
        return self._checked or self.convolvers.backend.name == TORCH

    def check_backend(self) -> None:
        """Compare, once, the results of the backend and of torch for a small input.

        Raises:
            BadPlan: they differ, and this backend was requested. Otherwise torch is used from now on.
        """
        if self._compared:
            return
        self._checked = True
        example, expected = self.traced.trace.example
        size = self.traced.trace.example_size
        plan = self.plan(size, 0, self.budget)
        result = self._streamed(Prepared(self.traced.stages(size), plan), example)
        span = max(1.0, expected.abs().max().item())
        # Not `>`: NaN must not pass.
        if (result - expected).abs().max().item() <= TOLERANCE * span:
            return
        name, self.convolvers = self.convolvers.backend.name, Convolvers(TorchBackend())
        self._plans.clear()
        self.notes.add(f"the results of {name} differ from torch's on this machine; torch was used instead")
        if self._backend_requested:
            raise BadPlan(
                f"The results of the backend {name} differ from torch's on this machine, by up to "
                f"{(result - expected).abs().max().item():.2g} in {span:.2g}.",
                f"Expected a difference of at most {TOLERANCE * span:.2g}.",
                "Use the backend torch, and report this machine to the developers of the other backend.",
            )

    def release_memory(self) -> None:
        """Free all memory that is cached for the next image."""
        self.convolvers.keep_only(frozenset())
        self.convolvers.release_buffers()
        self.bands.trim(0)
        self.slabs.trim(0)
        empty_cache(self.device)

    def _streamed(self, prepared: Prepared, item: Tensor) -> Tensor:
        return self._with_store(
            lambda store: run_stages(
                prepared.stages,
                prepared.plan.schedules,
                item,
                store,
                self.convolvers,
                prepared.plan.ready,
                self.guard,
                self.slabs,
            )
        )

    def _with_store(self, run: Callable[[Store], Result]) -> Result:
        """The result of a run with storage for maps between stages; after an error, arenas are replaced."""
        store = Store(self.device, self.bands, scratch_folder())
        try:
            output = run(store)
        except BaseException:
            # An interrupt between taking and storing a lease can leak it.
            self.bands, self.slabs = self._new_arenas()
            raise
        self.bands.trim(KEPT_BETWEEN_RUNS)
        return output

    def _new_arenas(self) -> tuple[Arena, Arena]:
        """New arenas for bands and for slabs."""
        return self._make_arena(self.device, BAND_SLACK), self._make_arena(self.device, SLAB_SLACK)

    def _shrink(self, size: tuple[int, int], fixed: int, failed: Prepared, streamed: bool = False) -> None:
        """Reduce the budget for this size: to half of the failed plan's or of the free memory, finally to the minimum.

        Raises:
            TooLittleMemory: a smaller budget is not possible.
        """
        self.release_memory()
        taken = min(failed.plan.peak, self._shrunk.get(size, failed.plan.peak))
        self._shrunk[size] = max(1, min(taken, free_memory(self.device)) // 2)
        memory, item_size = memory_name(self.device), self.traced.item_size(size)
        try:
            self.prepared(size, fixed, streamed)
        except TooLittleMemory as refusal:
            if refusal.least >= taken:
                del self._shrunk[size]
                raise self._ran_out(size, refusal.least) from None
            self._shrunk[size] = refusal.least
        self.notes.add(f"ran out of {memory} at {item_size}: used smaller slabs")

    def _ran_out(self, size: tuple[int, int], least: int) -> TooLittleMemory:
        """The refusal of an item for which memory ran out.

        Args:
            size: rows and columns of its latent.
            least: the sufficient memory in bytes.
        """
        memory = memory_name(self.device)
        return TooLittleMemory(
            f"The {memory} ran out at {self.traced.item_size(size)}, even with the smallest slabs.",
            f"Expected {format_bytes(least)} of free memory, in addition to the VAE itself.",
            f"Close other programs that use the {memory}, or use a smaller item.",
            least,
        )
