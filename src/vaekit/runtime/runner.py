"""Run one half of a VAE according to a plan: whole if that is faster and fits, else slab by slab."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaekit.runtime.backends import Backend
from vaekit.runtime.numerics import OverflowGuard, finite
from vaekit.runtime.plan import TORCH, Explanation, Notes, Plan
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.slab_runner import SlabRunner
from vaekit.runtime.traced_network import TracedNetwork
from vaekit.runtime.whole_runner import WholeRunner

OVERFLOWS = 3
"""So many items that overflow when they are run whole are enough to run all others slab by slab at once."""


class Runner:
    """Runs a network in the memory that it may take.

    A network of images of any size is traced, so that it can run slab by slab along the rows. Any other runs whole, as
    many items at once as the plan says: one of images of one size, of other axes, or of items without any.

    Args:
        network: an encoder or decoder, on its device and in its dtype.
        make_input: rows and columns of a latent -> an input of the network for it; None for a network that runs whole.
        backend: what runs the convolutions.
        plan: what it may take, and whether its backend was chosen by the user.
        make_arena: device and slack -> an arena (see `Arena`) for the memory of runs in slabs.
    """

    def __init__(
        self,
        network: nn.Module,
        make_input: Callable[[int, int], Tensor] | None,
        backend: Backend,
        plan: Plan,
        make_arena: Callable[[torch.device, float], Arena] = Arena,
    ) -> None:
        self.traced = TracedNetwork(network, make_input)
        self.guard = OverflowGuard(self.traced.dtype)
        self.budget = plan.budget
        self._batch_size = plan.batch_size
        self._notes = Notes()
        self.slabs = SlabRunner(self.traced, backend, plan, self.guard, self._notes, make_arena)
        self.whole = WholeRunner(self.traced, plan, self.slabs.give_back, self._notes)
        self._overflows = 0

    def run(self, items: Tensor, size: tuple[int, ...], fixed: int) -> Tensor:
        """What the network makes of items.

        Args:
            items: its input, as many as `batches` gives, or any other number of them.
            size: of the latent, along its axes.
            fixed: bytes that the caller takes beside the run: its input, and the result.

        Raises:
            BadPlan: it does not fit into the budget, or the backend gives wrong numbers here.
            TooLittleMemory: memory ran out, with the smallest slabs too.
        """
        if not self.traced.known:
            return self.traced.network(items)
        rows_and_columns = plane(size)
        made = self.whole.run(items, rows_and_columns, fixed) if self._overflows < OVERFLOWS else None
        if made is not None:
            return self._repaired(items, made, rows_and_columns, fixed)
        one_by_one = [self.slabs.run(item, rows_and_columns, fixed) for item in items.split(1)]
        return one_by_one[0] if len(items) == 1 else torch.cat(one_by_one)

    def batches(self, items: Tensor, size: tuple[int, ...], fixed: int) -> Sequence[Tensor]:
        """Items in parts that go through at once; of a traced network those that are left over alone, so that few
        shapes come."""
        if not self.traced.known:
            return items.split(self._batch_size)
        at_once = max(1, self.items_whole(plane(size), fixed))
        full = len(items) - len(items) % at_once
        return [*(items[:full].split(at_once) if full else ()), *(items[full:].split(1) if full < len(items) else ())]

    def items_whole(self, size: tuple[int, int], fixed: int) -> int:
        """How many items of this size the network is run on as a whole at once; 0 where it is run slab by slab."""
        return self.whole.items_at_once(size, fixed) if self._overflows < OVERFLOWS else 0

    def explained(self, half: str, size: tuple[int, ...], item_size: tuple[int, ...], fixed: int) -> Explanation:
        """How an item of this size will be run.

        Args:
            half: "encode" or "decode".
            size: of its latent, along the axes.
            item_size: of the item itself.
            fixed: bytes that the caller takes beside the run.

        Raises:
            BadPlan: it does not fit into the budget.
        """
        dtype = str(self.traced.dtype).removeprefix("torch.")
        known = (half, item_size, str(self.traced.device), dtype)
        all_rows = (item_size[0] if item_size else 1,) * 2
        if not self.traced.known:
            return Explanation(*known, TORCH, self.budget, None, 0, 0, 1, all_rows)
        rows_and_columns = plane(size)
        if self.items_whole(rows_and_columns, fixed):
            peak = self.whole.peak(rows_and_columns, fixed)
            return Explanation(*known, TORCH, self.budget, peak, 0, 0, 1, all_rows)
        plan = self.slabs.prepared(rows_and_columns, fixed).plan
        rows = [course.slab_rows for course in plan.courses]
        return Explanation(
            *known,
            self.slabs.convolvers.backend.name,
            self.budget,
            plan.peak,
            plan.prepared,
            max(0, plan.to_file),
            len(rows),
            (min(rows), max(rows)),
        )

    def notes(self, half: str) -> list[str]:
        """What had to be done otherwise than planned, in words."""
        notes = [f"{half}: {told}" for told in self._notes]
        if repaired := sorted({label for label in self.guard.repaired.values() if label}):
            notes.append(
                f"beyond the range of {self.guard.dtype_name}, recomputed in fp32: {half} {', '.join(repaired)}"
            )
        return notes

    def _repaired(self, items: Tensor, made: Tensor, size: tuple[int, int], fixed: int) -> Tensor:
        """The same, with the items that half precision could not hold done again, watched layer by layer."""
        if self.guard.watches:
            for i, item in enumerate(items.split(1)):
                if not finite(made[i]) and finite(item):
                    self._overflows += 1
                    made[i] = self.slabs.run(item, size, fixed)[0]
                    self._notes.tell(f"non-finite values in {self.guard.dtype_name}: these items were recomputed")
        return made


def plane(size: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of a traced network's latent: only networks of images are traced."""
    rows, columns = size
    return rows, columns
