"""Run a network slab by slab, item by item, within the memory limit."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.backends import Backend, Convolvers, TorchBackend
from vaekit.runtime.memory import SHARE_OF_FREE, empty_cache, format_bytes, free_memory, kind_of, out_of_memory
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.plan import AUTO, TORCH, Notes, Plan
from vaekit.runtime.streaming.arena import BAND_SLACK, SLAB_SLACK, Arena
from vaekit.runtime.streaming.buffers import Store
from vaekit.runtime.streaming.executor import run_stages
from vaekit.runtime.streaming.planning import RunPlan, plan_run
from vaekit.runtime.streaming.schedule import Stages
from vaekit.runtime.streaming.tracing import SMALL
from vaekit.runtime.traced_network import SIZES_REMEMBERED, TracedNetwork
from vaekit.user_dirs import scratch_folder

TOLERANCE = 1e-3
"""How much a backend's numbers may differ from torch's, in the largest of them. What rounds otherwise stays below 1e-4,
what computes something else is far above."""
KEPT_BETWEEN_RUNS = 256 << 20
"""Bytes of memory for maps that an engine keeps for the next image, if it took as much."""


@dataclass(frozen=True)
class Prepared:
    """What is known of runs for one size."""

    stages: Stages
    plan: RunPlan


class SlabRunner:
    """Runs a network that is known, one item at a time.

    Args:
        traced: the network.
        backend: what runs the convolutions.
        plan: what it may take, and whether its backend was chosen by the user.
        guard: watches half precision.
        notes: where it says what did not go as planned.
        make_arena: device and slack -> an arena (see `Arena`) for the memory of runs.
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
        self._chosen_by_user = plan.backend != AUTO
        self._checked = False
        self._shrunk: dict[tuple[int, int], int] = {}
        self._plans: OrderedDict[tuple[tuple[int, int], int, int | None, int], RunPlan] = OrderedDict()

    def run(self, item: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """What the network makes of one item; in smaller slabs where memory runs out.

        Raises:
            BadPlan: it does not fit into the budget, or the backend gives wrong results.
            TooLittleMemory: memory ran out even with the smallest slabs.
        """
        self.check_backend()
        while True:
            prepared = self.prepared(size, fixed)
            try:
                return self._streamed(prepared, item)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # Here, for an error that is being handled keeps the tensors of the run that failed.
            self._shrink(size, fixed, prepared)

    def prepared(self, size: tuple[int, int], fixed: int) -> Prepared:
        """How an item of this size will be run.

        Raises:
            BadPlan: it does not fit into the budget.
        """
        stages = self.traced.stages(size)
        budget = self._shrunk.get(size, self.budget)
        plan = self.plan(size, fixed, budget)
        free = int(SHARE_OF_FREE * free_memory(self.device))
        if budget is None and plan.peak > free:
            plan = self.plan(size, fixed, free)
        return Prepared(stages, plan)

    def plan(self, size: tuple[int, int], fixed: int, budget: int | None) -> RunPlan:
        """The fastest way within a budget, which is remembered."""
        key = (size, fixed, budget, self.parts)
        if key not in self._plans:
            self._plans[key] = plan_run(self.traced.stages(size), self.convolvers, budget, fixed, self.parts)
            if len(self._plans) > SIZES_REMEMBERED:
                self._plans.popitem(last=False)
        return self._plans[key]

    @property
    def parts(self) -> int:
        """How many parts of a map are worked on side by side: one for each thread that torch may use on a CPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    def check_backend(self) -> None:
        """Once, compare what the backend makes of a small input with what torch made of it while it was watched.

        Raises:
            BadPlan: they differ, and the user asked for this backend. Else torch is used from now on.
        """
        if self._checked or self.convolvers.backend.name == TORCH:
            return
        self._checked = True
        given, expected = self.traced.trace.example
        plan = self.plan(SMALL, 0, self.budget)
        got = self._streamed(Prepared(self.traced.stages(SMALL), plan), given)
        span = max(1.0, expected.abs().max().item())
        # Written so that NaN is no agreement.
        if (got - expected).abs().max().item() <= TOLERANCE * span:
            return
        name, self.convolvers = self.convolvers.backend.name, Convolvers(TorchBackend())
        self._plans.clear()
        self.notes.tell(f"{name} gives other results than torch on this machine; torch was used")
        if self._chosen_by_user:
            raise BadPlan(
                f"The results of the backend {name} differ from torch's on this machine, by up to "
                f"{(got - expected).abs().max().item():.2g} in {span:.2g}.",
                f"Expected a difference of at most {TOLERANCE * span:.2g}.",
                "Use the backend torch, and report this machine to the developers of the other backend.",
            )

    def give_back(self) -> None:
        """Give back all memory that is kept for the next image."""
        self.convolvers.keep_only(frozenset())
        self.convolvers.rest()
        self.bands.trim(0)
        self.slabs.trim(0)
        empty_cache(self.device)

    def _streamed(self, prepared: Prepared, item: Tensor) -> Tensor:
        store = Store(item.device, self.bands, scratch_folder())
        try:
            made = run_stages(
                prepared.stages,
                prepared.plan.courses,
                item,
                store,
                self.convolvers,
                prepared.plan.ready,
                self.guard,
                self.slabs,
            )
        except BaseException:
            # An interrupt may come between a lease and its owner, so that nobody returns it.
            self.bands, self.slabs = self._new_arenas()
            raise
        self.bands.trim(KEPT_BETWEEN_RUNS)
        return made

    def _new_arenas(self) -> tuple[Arena, Arena]:
        """Memory for bands and for slabs."""
        return self._make_arena(self.device, BAND_SLACK), self._make_arena(self.device, SLAB_SLACK)

    def _shrink(self, size: tuple[int, int], fixed: int, failed: Prepared) -> None:
        """Have items of this size take less from now on: half of what failed, or of what is free; at last the least.

        Raises:
            TooLittleMemory: less than what failed is not possible.
        """
        self.give_back()
        taken = min(failed.plan.peak, self._shrunk.get(size, failed.plan.peak))
        self._shrunk[size] = max(1, min(taken, free_memory(self.device)) // 2)
        kind, words = kind_of(self.device), self.traced.size_words(size)
        try:
            self.prepared(size, fixed)
        except TooLittleMemory as refusal:
            if refusal.least >= taken:
                del self._shrunk[size]
                raise TooLittleMemory(
                    f"The {kind} ran out at {words}, even with the smallest slabs.",
                    f"Expected {format_bytes(refusal.least)} of free memory, in addition to the VAE itself.",
                    f"Close other programs that use the {kind}, or reduce the size of the image.",
                    refusal.least,
                ) from None
            self._shrunk[size] = refusal.least
        self.notes.tell(f"ran out of {kind} at {words}: used smaller slabs")
