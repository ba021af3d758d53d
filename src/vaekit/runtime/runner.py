"""Run one half of a VAE according to a plan: whole if that is faster and fits, else slab by slab."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaekit.errors import TooLittleMemory
from vaekit.runtime.backends import Backend
from vaekit.runtime.numerics import OverflowGuard, finite
from vaekit.runtime.plan import TORCH, Explanation, Notes, Plan
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.endpoints import Read, Write, WrittenRows
from vaekit.runtime.streaming.planning import RunPlan, too_little_memory
from vaekit.runtime.streaming.slab_runner import SlabRunner
from vaekit.runtime.streaming.tracing import PLANES, Sizes
from vaekit.runtime.traced_network import TracedNetwork
from vaekit.runtime.whole_runner import WholeRunner

OVERFLOWS = 3
"""The number of items that overflow in whole runs after which all others are streamed in slabs."""


class Runner:
    """Runs a network within a memory limit.

    A network for items of any size with one or two axes is traced, so that it can be streamed in slabs of rows. Other
    networks run whole, on batches of the plan's size: those with a fixed size, with three axes, or without axes.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        make_input: rows and columns of a latent -> an input of that size; None for a network that runs whole.
        backend: for the convolutions.
        plan: the memory limit, the batch size and the requested backend.
        make_arena: device and slack -> the arena (see `Arena`) for streamed runs.
        sizes: rows and columns of the latents for tracing.
    """

    def __init__(
        self,
        network: nn.Module,
        make_input: Callable[[int, int], Tensor] | None,
        backend: Backend,
        plan: Plan,
        make_arena: Callable[[torch.device, float], Arena] = Arena,
        sizes: Sizes = PLANES,
    ) -> None:
        self.traced = TracedNetwork(network, make_input, sizes)
        self.guard = OverflowGuard(self.traced.dtype)
        self.budget = plan.budget
        self._batch_size = plan.batch_size
        self._notes = Notes()
        self.slabs = SlabRunner(self.traced, backend, plan, self.guard, self._notes, make_arena)
        self.whole = WholeRunner(self.traced, plan, self.slabs.release_memory, self._notes)
        self._overflows = 0

    def run(self, items: Tensor, size: tuple[int, ...], fixed: int) -> Tensor:
        """Run the network on items.

        Args:
            items: the input; `batches` gives the best batch size, but any is valid.
            size: of the latent along its axes.
            fixed: memory of the caller in bytes: its input and the result.

        Raises:
            BadPlan: the backend returns wrong results on this machine.
            TooLittleMemory: the limit is too small, or memory ran out even with the smallest slabs.
        """
        if not self.traced.is_traceable:
            return self.traced.network(items)
        rows_and_columns = plane(size)
        output = (
            self.whole.run(items, rows_and_columns, fixed) if self._may_run_whole(rows_and_columns, fixed) else None
        )
        if output is not None:
            return self._repaired(items, output, rows_and_columns, fixed)
        self._plan_slabs(rows_and_columns, fixed)
        one_by_one = [self.slabs.run(item, rows_and_columns, fixed) for item in items.split(1)]
        return one_by_one[0] if len(items) == 1 else torch.cat(one_by_one)

    def batches(self, items: Tensor, size: tuple[int, ...], fixed: int) -> Sequence[Tensor]:
        """Split items into batches. For a traced network, remaining items are processed one by one, which keeps the
        number of different shapes low."""
        if not self.traced.is_traceable:
            return items.split(self._batch_size)
        at_once = self.items_at_once(size, fixed)
        full = len(items) - len(items) % at_once
        return [*(items[:full].split(at_once) if full else ()), *(items[full:].split(1) if full < len(items) else ())]

    def items_at_once(self, size: tuple[int, ...], fixed: int) -> int:
        """The size of the batches in which items run; 1 if they are streamed, or run one by one, as on a CPU."""
        return max(1, self.items_whole(plane(size), fixed)) if self.traced.is_traceable else self._batch_size

    def items_whole(self, size: tuple[int, int], fixed: int) -> int:
        """The batch size of whole runs for items of this size; 0 if they are streamed."""
        return self.whole.items_at_once(size, fixed) if self._may_run_whole(size, fixed) else 0

    def runs_whole(self, size: tuple[int, ...], fixed: int) -> bool:
        """Whether an item of this size is best in memory as a whole: a small one, or if the network is not traced.

        Raises:
            TooLittleMemory: the network is not traced, and the item alone exceeds the limit.
        """
        if self.traced.is_traceable:
            return self.items_whole(plane(size), fixed) > 0
        if self.budget is not None and fixed > self.budget:
            raise too_little_memory(self.budget, fixed)
        return True

    def streamed_in(self, read: Read, size: tuple[int, ...], fixed: int) -> Tensor:
        """Run a traced network on one item that is read by ranges of rows.

        Args:
            read: reads a range of the input.
            size: of the latent along its axes.
            fixed: memory of the caller in bytes: the result, with copies of it.

        Raises:
            BadPlan, TooLittleMemory: see `run`.
        """
        stages = self.traced.stages(plane(size))
        outputs: list[Tensor] = []
        axis = stages.steps[stages.output].axis
        assert axis is not None
        self.slabs.stream(read, lambda: WrittenRows(outputs.append, axis), plane(size), fixed)
        return torch.cat(outputs, dim=axis)

    def streamed_out(self, item: Tensor, write: Write, size: tuple[int, ...], fixed: int) -> None:
        """Run a traced network on one item, and pass on its rows in order.

        Args:
            item: the input.
            write: takes the next rows of the output.
            size: of the latent along its axes.
            fixed: memory of the caller in bytes: the input, with copies of it.

        Raises:
            BadPlan, TooLittleMemory: see `run`.
        """
        self.slabs.stream(lambda a, b: item[:, :, a:b], lambda: WrittenRows(write, 2), plane(size), fixed)

    def _may_run_whole(self, size: tuple[int, int], fixed: int) -> bool:
        """Whether overflow is rare; and with a budget, whether an item that overflows could be recomputed in slabs."""
        if self.guard.enabled and self.budget is not None:
            try:
                self.slabs.prepared(size, fixed)
            except TooLittleMemory:
                return False
        return self._overflows < OVERFLOWS

    def _plan_slabs(self, size: tuple[int, int], fixed: int, streamed: bool = False) -> RunPlan:
        """The plan for an item that is streamed.

        Raises:
            TooLittleMemory: the limit is too small. Running whole may need a smaller one than slabs.
        """
        try:
            return self.slabs.prepared(size, fixed, streamed).plan
        except TooLittleMemory as refusal:
            if streamed or self.guard.enabled or self.budget is None:
                raise
            whole = self.whole.least(size, fixed)
            if whole is None or whole >= refusal.least:
                raise
            raise too_little_memory(self.budget or 0, whole) from None

    def explained(
        self, half: str, size: tuple[int, ...], item_size: tuple[int, ...], fixed: int, streamed: int | None = None
    ) -> Explanation:
        """How an item of this size will be run.

        Args:
            half: "encode" or "decode".
            size: of its latent along the axes.
            item_size: of the item along its axes.
            fixed: memory of the caller in bytes.
            streamed: memory of the caller if the item is read or written by ranges; None for an item in memory.

        Raises:
            TooLittleMemory: the limit is too small.
        """
        dtype = str(self.traced.dtype).removeprefix("torch.")
        facts = (half, item_size, str(self.traced.device), dtype)
        all_rows = (item_size[0] if item_size else 1,) * 2
        if not self.traced.is_traceable:
            return Explanation(*facts, TORCH, self.budget, None, 0, 0, 1, all_rows)
        rows_and_columns = plane(size)
        if self.items_whole(rows_and_columns, fixed):
            peak = self.whole.peak(rows_and_columns, fixed)
            return Explanation(*facts, TORCH, self.budget, peak, 0, 0, 1, all_rows)
        in_memory = streamed is None
        plan = self._plan_slabs(rows_and_columns, fixed if streamed is None else streamed, not in_memory)
        rows = [schedule.slab_rows for schedule in plan.schedules]
        return Explanation(
            *facts,
            self.slabs.convolvers.backend.name,
            self.budget,
            plan.peak,
            plan.prepared,
            max(0, plan.to_file),
            len(rows),
            (min(rows), max(rows)),
            max(each.wholes for each in plan.stages),
        )

    def notes(self, half: str) -> list[str]:
        """Deviations from the plan, as sentences."""
        notes = [f"{half}: {note}" for note in self._notes]
        if repaired := sorted({label for label in self.guard.repaired.values() if label}):
            notes.append(
                f"beyond the range of {self.guard.dtype_name}, recomputed in fp32: {half} {', '.join(repaired)}"
            )
        return notes

    def _repaired(self, items: Tensor, output: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """Recompute items that overflowed in half precision, with a check of every layer."""
        if self.guard.enabled:
            for i, item in enumerate(items.split(1)):
                if not finite(output[i]) and finite(item):
                    self._overflows += 1
                    output[i] = self.slabs.run(item, size, fixed)[0]
                    self._notes.add(f"non-finite values in {self.guard.dtype_name}: these items were recomputed")
        return output


def plane(size: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of a latent: one column if it has one axis. Others are not traced."""
    rows, columns = size if len(size) > 1 else (*size, 1)
    return rows, columns
