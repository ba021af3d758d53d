"""One half of a VAE under a plan: traced once, planned for each size, run slab by slab or, on a GPU, whole.

This is the one place that decides which. A network runs whole on a GPU, several items at once, where the plan has no
budget and all maps are expected to fit into the memory that is free. Where they do not, or memory runs out all the
same, it goes slab by slab, item by item.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.places import scratch_folder
from vaekit.runtime.compiled import CompiledNetwork, whole_peak
from vaekit.runtime.convolving import Backend, Convolvers, TorchBackend
from vaekit.runtime.explaining import Explanation, pixel_words
from vaekit.runtime.maps import Store
from vaekit.runtime.memory import free_memory, size_words
from vaekit.runtime.numerics import Guard, finite
from vaekit.runtime.plan import AUTO, TORCH, Plan
from vaekit.runtime.planning import RunPlan, plan_run, products
from vaekit.runtime.rooms import ROOMY, Rooms
from vaekit.runtime.rules import lowered
from vaekit.runtime.shortage import empty_cache, kind_of, out_of_memory
from vaekit.runtime.stages import Stages, staged
from vaekit.runtime.streaming import stream
from vaekit.runtime.tracing import SMALL, NotTraceable, Trace, trace
from vaekit.runtime.upsampling import with_enlarged_convs

SIZES_REMEMBERED = 8
TOLERANCE = 1e-3
"""How much a backend's numbers may differ from torch's, in the largest of them. What rounds otherwise stays below 1e-4,
what computes something else is far above."""
KEPT_BETWEEN_RUNS = 256 << 20
"""Bytes of memory for maps that an engine keeps for the next picture, if it took as much."""
SHARE_OF_FREE = 0.8
"""Without a budget, a run may take so much of the memory that is free; the rest is headroom."""
LEAST_PRODUCTS = 10 * 10**9
"""Products of convolutions from which on another backend than torch is worth being checked and getting ready."""
OVERFLOWS = 3
"""So many items that overflow when they are run whole are enough to run all others slab by slab at once."""


@dataclass(frozen=True)
class Prepared:
    """What is known of runs for one size."""

    stages: Stages
    plan: RunPlan
    convolvers: Convolvers


class Runner:
    """Runs a network in the memory that it may take.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        make_input: rows and columns of a latent -> an input of the network for it; None for a network of one size.
        backend: what runs the convolutions.
        plan: what it may take, and whether its backend was chosen by the user.
    """

    def __init__(
        self,
        network: nn.Module,
        make_input: Callable[[int, int], Tensor] | None,
        backend: Backend,
        plan: Plan,
    ) -> None:
        self.network = network
        self.convolvers = Convolvers(backend)
        self._plain = Convolvers(TorchBackend())
        self.budget = plan.budget
        self._chosen_by_user = plan.backend != AUTO
        self._refused = ""
        given = make_input(*SMALL) if make_input is not None else next(network.parameters())
        self.device, self.dtype = given.device, given.dtype
        self.bands, self.slabs = Rooms(self.device), Rooms(self.device, ROOMY)
        self.guard = Guard(self.dtype)
        self._make_input = make_input
        self._names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
        self._trace: Trace | None = None
        self._watched = self._checked = False
        self._sizes: OrderedDict[tuple[int, int], Stages] = OrderedDict()
        self._batch_size = plan.batch_size
        self._compiled: CompiledNetwork | None = None
        self._most_whole: dict[tuple[int, int], int] = {}
        self._overflows = 0
        self._shrunk: dict[tuple[int, int], int] = {}
        self._told: list[str] = []
        self._plans: OrderedDict[tuple[tuple[int, int], int, int | None, int, str], RunPlan] = OrderedDict()

    def run(self, items: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """What the network makes of items.

        Args:
            items: its input, as many as `at_once` says, or any other number of them.
            size: rows and columns of the latent.
            fixed: bytes that the caller takes beside the run: its input, and the result.

        Raises:
            BadPlan: it does not fit into the budget, or the backend gives wrong numbers here.
            TooLittleMemory: memory ran out, with the smallest slabs too.
        """
        if not self.streams:
            return self.network(items)
        made = self._run_whole(items, size, fixed)
        if made is not None:
            return self._repaired(items, made, size, fixed)
        one_by_one = [self._run(item, size, fixed) for item in items.split(1)]
        return one_by_one[0] if len(items) == 1 else torch.cat(one_by_one)

    def batches(self, items: Tensor, size: tuple[int, int], fixed: int) -> Sequence[Tensor]:
        """Items in parts that go through at once; those that are left over alone, so that few shapes come."""
        at_once = max(1, self.items_whole(size, fixed)) if self.streams else 1
        full = len(items) - len(items) % at_once
        return [*(items[:full].split(at_once) if full else ()), *(items[full:].split(1) if full < len(items) else ())]

    def items_whole(self, size: tuple[int, int], fixed: int) -> int:
        """How many items of this size the network is run on as a whole at once; 0 where it is run slab by slab."""
        if self.budget is not None or not runs_whole(self.device) or self._overflows >= OVERFLOWS:
            return 0
        items = self._most_whole.get(size, self._batch_size)
        each, free = whole_peak(self.stages(size)), int(SHARE_OF_FREE * free_memory(self.device)) - fixed
        while items and items * each > free:
            items //= 2  # rather than to as many as fit, which would be another shape each time
        return items

    def _run_whole(self, items: Tensor, size: tuple[int, int], fixed: int) -> Tensor | None:
        """What the whole network makes of items; None where they have to be done slab by slab."""
        while at_once := self.items_whole(size, fixed):
            if self._compiled is None:
                assert self._trace is not None
                rewritten = with_enlarged_convs(self.network, self._trace, self._names)
                self._compiled = CompiledNetwork(self.network, rewritten)
            try:
                made = [self._compiled.run(each) for each in items.split(at_once)]
                return made[0] if len(made) == 1 else torch.cat(made)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            self._give_back()
            fewer = self._most_whole[size] = min(at_once, len(items)) // 2
            done = f"done {fewer} at once" if fewer else "done in slabs"
            self._tell(f"ran out of {kind_of(self.device)} at {size_of(self.stages(size))}: {done}")
        return None

    def _repaired(self, items: Tensor, made: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """The same, with the items that half precision could not hold done again, watched layer by layer."""
        if self.guard.watches:
            for i, item in enumerate(items.split(1)):
                if not finite(made[i]) and finite(item):
                    self._overflows += 1
                    made[i] = self._run(item, size, fixed)[0]
                    self._tell(f"not all numbers were finite in {self.guard.dtype_name}: those items were done again")
        return made

    def _run(self, item: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """What the network makes of one item, slab by slab; in smaller ones where memory runs out."""
        self.check_backend(size)
        while True:
            prepared = self.prepared(size, fixed)
            try:
                return self._streamed(prepared, item)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # Here, for an error that is being handled keeps the tensors of the run that failed.
            self._shrink(size, fixed, prepared)

    def _shrink(self, size: tuple[int, int], fixed: int, failed: Prepared) -> None:
        """Have items of this size take less from now on: half of what failed, or of what is free; at last the least.

        Raises:
            TooLittleMemory: less than what failed is not possible.
        """
        self._give_back()
        taken = min(failed.plan.peak, self._shrunk.get(size, failed.plan.peak))
        self._shrunk[size] = max(1, min(taken, free_memory(self.device)) // 2)
        try:
            self.prepared(size, fixed)
        except TooLittleMemory as refusal:
            kind = kind_of(self.device)
            if refusal.least >= taken:
                del self._shrunk[size]
                raise TooLittleMemory(
                    f"The {kind} ran out at {size_of(failed.stages)}, with the smallest slabs too.",
                    f"{size_words(refusal.least)} were expected to be free, beside the VAE itself.",
                    f"End other programs that use the {kind}, or make the picture smaller.",
                    refusal.least,
                ) from None
            self._shrunk[size] = refusal.least
        self._tell(f"ran out of {kind_of(self.device)} at {size_of(failed.stages)}: done in smaller slabs")

    def _give_back(self) -> None:
        """Give back all memory that is kept for the next picture."""
        self.convolvers.keep_only(frozenset())
        self.convolvers.rest()
        self.bands.trim(0)
        self.slabs.trim(0)
        empty_cache(self.device)

    def _tell(self, note: str) -> None:
        """Note something once."""
        if note not in self._told:
            self._told.append(note)

    def _streamed(self, prepared: Prepared, item: Tensor) -> Tensor:
        store = Store(item.device, self.bands, scratch_folder())
        made = stream(
            prepared.stages,
            prepared.plan.courses,
            item,
            store,
            prepared.convolvers,
            prepared.plan.ready,
            self.guard,
            self.slabs,
        )
        self.bands.trim(KEPT_BETWEEN_RUNS)
        return made

    def check_backend(self, size: tuple[int, int]) -> None:
        """Once, if it is used for such a size, compare what the backend makes of a small input with what torch made of
        it while it was watched.

        Raises:
            BadPlan: they differ, and the user asked for this backend. Else torch is used from now on.
        """
        if self._checked or self._trace is None or self.convolvers_at(size).backend.name == TORCH:
            return
        self._checked = True
        given, expected = self._trace.example
        plan = self.plan(SMALL, 0, self.budget, self.convolvers)
        got = self._streamed(Prepared(self.stages(SMALL), plan, self.convolvers), given)
        span = max(1.0, expected.abs().max().item())
        # Written so that NaN is no agreement.
        if (got - expected).abs().max().item() <= TOLERANCE * span:
            return
        name, self.convolvers = self.convolvers.backend.name, Convolvers(TorchBackend())
        self._plans.clear()
        self._refused = f"{name} gives other numbers than torch on this machine; torch was used"
        if self._chosen_by_user:
            raise BadPlan(
                f"The backend {name} gives other numbers than torch on this machine, by up to "
                f"{(got - expected).abs().max().item():.2g} in {span:.2g}.",
                f"A difference of {TOLERANCE * span:.2g} at most was expected.",
                "Use the backend torch, and tell the makers of the other what machine this is.",
            )

    def prepared(self, size: tuple[int, int], fixed: int) -> Prepared:
        """How an item of this size will be run.

        Raises:
            BadPlan: it does not fit into the budget.
        """
        stages, convolvers = self.stages(size), self.convolvers_at(size)
        budget = self._shrunk.get(size, self.budget)
        plan = self.plan(size, fixed, budget, convolvers)
        free = int(SHARE_OF_FREE * free_memory(self.device))
        if budget is None and plan.peak > free:
            plan = self.plan(size, fixed, free, convolvers)
        return Prepared(stages, plan, convolvers)

    def convolvers_at(self, size: tuple[int, int]) -> Convolvers:
        """What runs the convolutions for items of this size: torch if getting another backend ready does not pay."""
        small = products(self.stages(size)) < LEAST_PRODUCTS
        return self._plain if small and not self._chosen_by_user else self.convolvers

    def explained(self, half: str, size: tuple[int, int], pixels: tuple[int, int], fixed: int) -> Explanation:
        """How an item of this size will be run.

        Raises:
            BadPlan: it does not fit into the budget.
        """
        known = (half, pixels[1], pixels[0], str(self.device), str(self.dtype).removeprefix("torch."))
        if not self.streams:
            return Explanation(*known, "torch", self.budget, None, 0, 0, 1, (pixels[0], pixels[0]))
        if at_once := self.items_whole(size, fixed):
            peak = at_once * whole_peak(self.stages(size)) + fixed
            return Explanation(*known, "torch", None, peak, 0, 0, 1, (pixels[0], pixels[0]))
        prepared = self.prepared(size, fixed)
        plan = prepared.plan
        rows = [course.slab_rows for course in plan.courses]
        return Explanation(
            *known,
            prepared.convolvers.backend.name,
            self.budget,
            plan.peak,
            plan.prepared,
            max(0, plan.to_file),
            len(rows),
            (min(rows), max(rows)),
        )

    def notes(self, half: str) -> list[str]:
        """What had to be done otherwise than planned, in words."""
        repaired = sorted({label for label in self.guard.repaired.values() if label})
        notes = [self._refused] if self._refused else []
        compiled = self._compiled.notes if self._compiled is not None else []
        notes += [f"{half}: {told}" for told in (*self._told, *compiled)]
        if repaired:
            notes.append(
                f"beyond the range of {self.guard.dtype_name}, done again in fp32: {half} {', '.join(repaired)}"
            )
        return notes

    def plan(self, size: tuple[int, int], fixed: int, budget: int | None, convolvers: Convolvers) -> RunPlan:
        """The fastest way within a budget, which is remembered."""
        key = (size, fixed, budget, self.parts, convolvers.backend.name)
        if key not in self._plans:
            self._plans[key] = plan_run(self.stages(size), convolvers, budget, fixed, self.parts)
            if len(self._plans) > SIZES_REMEMBERED:
                self._plans.popitem(last=False)
        return self._plans[key]

    @property
    def streams(self) -> bool:
        """Whether it is known what the network does, so that it can be run in parts."""
        if not self._watched and self._make_input is not None:
            self._watched = True
            with suppress(NotTraceable):
                self._trace = trace(self.network, self._make_input)
        return self._trace is not None

    @property
    def parts(self) -> int:
        """How many parts of a map are worked on side by side: one for each thread that torch may use on a CPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    def stages(self, size: tuple[int, int]) -> Stages:
        """What will be run for an item of this size."""
        if size not in self._sizes:
            assert self._trace is not None
            self._sizes[size] = staged(*lowered(self._trace, *size, self._names))
            if len(self._sizes) > SIZES_REMEMBERED:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(size)
        return self._sizes[size]


def runs_whole(device: torch.device) -> bool:
    """Whether networks are fastest whole on a device: a GPU's maps need no cache, and what runs there is compiled."""
    return device.type == "cuda"


def size_of(stages: Stages) -> str:
    """The size of the pictures that a network takes or makes, in words."""
    return pixel_words(stages.steps[0].shape, stages.steps[stages.output].shape)
