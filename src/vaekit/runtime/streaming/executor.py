"""Run stages, slab by slab."""

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from vaekit.runtime.backends import Convolvers
from vaekit.runtime.memory import HeapWatch, give_back
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.buffers import Frame, Map, Store, Strip, Whole
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import ON_ITSELF, Apply, Convolve, Normalize, Pad, Reduction, Window
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.walk import RowRange, RowStep, Task, row_ranges, rows_read, walk
from vaekit.runtime.threads import run_parallel, threads_per_part

SPARE = 32 << 20
"""Bytes of free buffers for slabs that are kept for the next stage, whose slabs are of other sizes mostly."""


@dataclass(frozen=True)
class StageRows:
    """How a stage is run."""

    slab_rows: int
    """How many rows of its largest result go through at once, in each part."""
    parts: int = 1
    """How many parts of the maps are worked on side by side, at the most."""
    maps_in_memory: int | None = None
    """Bytes of kept maps that may be in memory while it runs; None for any."""
    buffers: int = sys.maxsize
    """Bytes of the buffers that kept maps lie in, free ones among them."""
    give_back: bool = False
    """Whether memory that was freed goes back to the system after it."""


def run_stages(
    stages: Stages,
    courses: Sequence[StageRows],
    given: Tensor,
    store: Store,
    convolvers: Convolvers,
    keep_ready: frozenset[int],
    guard: OverflowGuard,
    slabs: Arena,
) -> Tensor:
    """Run a network in stages. What it returns is torch's own memory, and all leases were returned, after an error too.

    Args:
        stages: what to do.
        courses: how, for each stage.
        given: the network's input, one item.
        store: keeps maps in between; it is closed.
        convolvers: run the convolutions.
        keep_ready: steps whose convolutions stay prepared for the next run.
        guard: watches over half precision.
        slabs: memory for slabs.
    """
    first = stages.steps[0]
    kept: dict[int, Map | Whole] = {0: Whole(given, first.axis, first.unit)}
    run = Run(stages, given.device, store, convolvers, kept, guard, slabs)
    convolvers.keep_only(keep_ready)
    try:
        for number, (stage, course) in enumerate(zip(stages.stages, courses, strict=True)):
            store.allow(course.maps_in_memory, course.buffers)
            StageRun(run, stage, number, course).go()
            for i in [i for i, last in stages.last_use.items() if last == number]:
                run.kept.pop(i).keep_only((), True)
            convolvers.keep_only(keep_ready)
            convolvers.rest()
            slabs.trim(SPARE)
            if course.give_back:
                give_back()
    finally:
        store.close()
    final = run.kept[stages.output]
    assert isinstance(final, Whole)
    return final.tensor


@dataclass
class Run:
    """What the stages of one run share."""

    stages: Stages
    device: torch.device
    store: Store
    convolvers: Convolvers
    kept: dict[int, Map | Whole]
    guard: OverflowGuard
    slabs: Arena
    heap: HeapWatch = field(default_factory=HeapWatch)

    def known(self) -> int:
        """Bytes that are taken on purpose."""
        wholes = sum(each.tensor.nbytes for each in list(self.kept.values()) if isinstance(each, Whole))
        return wholes + self.store.arena.allocated + self.slabs.allocated

    def own(self, made: Tensor) -> Tensor:
        """What an operation made, in memory that lasts: a view of its inputs is copied where they are leased."""
        return made.clone() if self.store.arena.holds(made) or self.slabs.holds(made) else made

    def keep(self, i: int) -> Map | Whole:
        """Provide for a value that later stages read."""
        step = self.stages.steps[i]
        if i == self.stages.output or i in self.stages.read_whole:
            self.kept[i] = Whole(torch.empty(step.shape, dtype=step.dtype, device=self.device), step.axis, step.unit)
        else:
            assert step.axis is not None
            self.kept[i] = Map(self.store, step.axis, step.unit)
        return self.kept[i]

    def whole(self, i: int) -> Tensor:
        """A value that is there as a whole."""
        kept = self.kept[i]
        assert isinstance(kept, Whole)
        return kept.tensor


class StageRun:
    """One stage at work: what is done once for all of it, and its parts."""

    def __init__(self, run: Run, stage: Stage, number: int, course: StageRows) -> None:
        self.run = run
        self.stage = stage
        self.number = number
        self.course = course
        self.steps = run.stages.steps
        self.rowed = [task for task in stage.tasks if not task.step.whole]
        self.keeping: dict[int, Map | Whole] = {}
        self.stop = threading.Event()
        self._progress: dict[int, dict[int, tuple[int, int]]] = {}
        self._lock = threading.Lock()

    def go(self) -> None:
        for task in self.stage.tasks:
            if task.step.whole:
                self.run_whole(task)
        kept = {task.index for task in self.rowed if not task.step.reduces} & set(self.stage.kept)
        self.keeping = {i: self.run.keep(i) for i in kept}
        shares = row_ranges(self.steps, self.rowed, self.stage.kept, self.course.parts)
        for task in self.rowed:
            if isinstance(task.step.operation, Convolve):
                self.run.convolvers.get_ready(task.index, task.step.operation, threads_per_part(len(shares)))
        parts = [PartRun(self, share, number) for number, share in enumerate(shares)]
        for number, part in enumerate(parts):
            for source, seen in part.share.seen.items():
                self._progress.setdefault(source, {})[number] = seen
        run_parallel([part.go for part in parts], self.stop)
        for task in self.rowed:
            if isinstance(task.step.operation, Reduction):
                sums = [part.sums[task.index] for part in parts]
                self.run.kept[task.index] = Whole(reduce(task.step.operation.merge, sums), None, 0)

    def passed(self, part: int, source: int, row: int) -> None:
        """A part will not read rows of an earlier stage's value above this one any more."""
        with self._lock:
            progress = self._progress[source]
            progress[part] = (row, progress[part][1])
            needed = [(a, b) for a, b in progress.values() if a < b]
        self.run.kept[source].keep_only(needed, self.run.stages.last_use.get(source) == self.number)

    def run_whole(self, task: Task) -> None:
        """Do a step that is not done by rows."""
        step = task.step
        assert step.operation is not None
        made = step.operation.run((0, 0), [self.run.whole(each.step) for each in step.inputs])
        self.run.kept[task.index] = Whole(made, step.axis, step.unit)


class PartRun:
    """One part of a stage, from its top to its bottom."""

    def __init__(self, whole: StageRun, share: RowRange, number: int) -> None:
        self.whole = whole
        self.run = whole.run
        self.steps = whole.steps
        self.share = share
        self.number = number
        read = {source for task in whole.rowed for source, _ in task.reads}
        self.strips = {
            task.index: (Frame if task.pads else Strip)(
                task.step.axis, task.step.unit, share.first[task.index], self.run.slabs
            )
            for task in whole.rowed
            if task.index in read and task.step.axis is not None
        }
        self.sums: dict[int, Tensor] = {}

    def go(self) -> None:
        """Make all rows; whatever happens, the memory of the strips is returned."""
        try:
            self.follow()
        finally:
            for strip in self.strips.values():
                strip.close()

    def follow(self) -> None:
        """Make one move after the other."""
        for move in walk(self.steps, self.whole.rowed, self.whole.stage.kept, self.whole.course.slab_rows, self.share):
            if self.whole.stop.is_set():
                return
            if move.task.pads:
                self.pad(move)
            else:
                self.make(move)
                if self.number == 0 and isinstance(move.task.step.operation, Convolve):
                    self.run.heap.look(self.run.known())
            for source, row in move.releases:
                if source in self.strips:
                    self.strips[source].release(row)
                else:
                    self.whole.passed(self.number, source, row)

    def source(self, i: int) -> Map | Whole | Strip:
        """Where the rows of a value are."""
        return self.strips[i] if i in self.strips else self.run.kept[i]

    def make(self, move: RowStep) -> None:
        """Rows of a task that makes them as a tensor of its own."""
        task, rows = move.task, (move.a, move.b)
        operation = task.step.operation
        assert operation is not None
        given = self.gathered(task, rows)
        if isinstance(operation, Reduction):
            part, before = self.run.own(operation.run(rows, given)), self.sums.get(task.index)
            self.sums[task.index] = part if before is None else operation.merge(before, part)
            return
        if task.step.dtype == self.run.guard.dtype and self.run.guard.watches:
            made = self.run.guard.run(task.step, task.index, lambda x: self.plainly(task, rows, x), given, rows)
        else:
            made = self.plainly(task, rows, given)
        if task.index in self.strips:
            self.strips[task.index].append(self.run.own(made))
        if task.index in self.whole.keeping:
            self.keep(task, made, move.a)

    def keep(self, task: Task, made: Tensor, row: int) -> None:
        """Keep rows from this one on, those of the neighbors left out."""
        assert task.step.axis is not None
        a, b = self.share.own[task.index]
        first, last = max(a, row), min(b, row + made.shape[task.step.axis] // task.step.unit)
        if first < last:
            own = made.narrow(task.step.axis, (first - row) * task.step.unit, (last - first) * task.step.unit)
            self.whole.keeping[task.index].put(first, own)

    def plainly(self, task: Task, rows: tuple[int, int], given: Sequence[Tensor]) -> Tensor:
        """What an operation makes."""
        operation = task.step.operation
        assert operation is not None
        if isinstance(operation, Convolve):
            return self.run.convolvers.run(task.index, given[0])
        if isinstance(operation, Apply) and task.over is not None and not self.run.guard.watches:
            return operation.overwrite(given, task.over)
        return operation.run(rows, given)

    def gathered(self, task: Task, rows: tuple[int, int]) -> list[Tensor]:
        """What an operation is given: rows, or whole values."""
        reads = iter(task.reads)
        return [self.rows_for(*next(reads), rows) if whole is None else self.run.whole(whole) for whole in task.wholes]

    def rows_for(self, source: int, window: Window, rows: tuple[int, int]) -> Tensor:
        """Rows of a value in one tensor."""
        step = self.steps[source]
        pieces = self.source(source).pieces(*rows_read(window, *rows, step.rows))
        assert step.axis is not None
        if not pieces:  # rows that padding makes up
            shape = (*step.shape[: step.axis], 0, *step.shape[step.axis + 1 :])
            return torch.empty(shape, dtype=step.dtype, device=self.run.device)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=step.axis)

    def pad(self, move: RowStep) -> None:
        """Pad, behind the rows that are still needed in the same buffer, so that nothing is copied twice."""
        task, operation = move.task, move.task.step.operation
        assert isinstance(operation, Pad)
        ((source, window),) = task.reads
        first, last = rows_read(window, move.a, move.b, self.steps[source].rows)
        pieces = self.source(source).pieces(first, last) if first < last else []
        dtype = self.dtype_for(task, pieces)
        frame = self.strips[task.index]
        assert isinstance(frame, Frame)
        buffer, new, fresh = frame.grow(move.b - move.a, task.step.shape, dtype)
        left, right, top, _ = operation.amounts
        rows = max(0, min(top, move.b) - move.a)
        inside = new.narrow(3, left, new.shape[3] - left - right)
        if fresh:  # else what lies at the sides is still there
            buffer[:, :, :, :left].fill_(operation.value)
            buffer[:, :, :, buffer.shape[3] - right :].fill_(operation.value)
        if rows:
            new[:, :, :rows].fill_(operation.value)
        for piece in pieces:
            self.fill(inside.narrow(2, rows, piece.shape[2]), piece, task.ahead)
            rows += piece.shape[2]
        if rows < new.shape[2]:
            new[:, :, rows:].fill_(operation.value)

    def dtype_for(self, task: Task, pieces: list[Tensor]) -> torch.dtype:
        """The dtype of a slab: that of the network, but for numbers that it cannot hold."""
        before = self.strips[task.index].tensor
        normed = any(isinstance(step.operation, Normalize) for step in task.ahead)
        dtypes = [*([] if normed else [piece.dtype for piece in pieces]), *([] if before is None else [before.dtype])]
        return torch.float32 if torch.float32 in dtypes else task.step.dtype

    def fill(self, buffer: Tensor, piece: Tensor, ahead: tuple[Step, ...]) -> None:
        """Copy rows, and do in place what comes before the padding; of half precision, in fp32."""
        if ahead and self.run.guard.watches:
            exact = piece.to(torch.float32, copy=True)
            self.fill_in(exact, exact, ahead)
            buffer.copy_(exact)
        else:
            self.fill_in(buffer, piece, ahead)

    def fill_in(self, buffer: Tensor, piece: Tensor, ahead: tuple[Step, ...]) -> None:
        """The same, in the dtype of what it is given."""
        copied = buffer is piece
        for step in ahead:
            if isinstance(step.operation, Normalize):
                scale, shift = step.operation.line(piece, self.run.whole(step.inputs[1].step))
                torch.mul(buffer if copied else piece, scale, out=buffer).add_(shift)
            else:
                if not copied:
                    buffer.copy_(piece)
                assert isinstance(step.operation, Apply)
                ON_ITSELF[step.operation.function](buffer)
            copied = True
        if not copied:
            buffer.copy_(piece)
