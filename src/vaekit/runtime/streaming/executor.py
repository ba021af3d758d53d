"""Run stages, slab by slab."""

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from vaekit.runtime.backends import Convolvers
from vaekit.runtime.memory import HeapWatch, trim_heap
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming.arena import Arena
from vaekit.runtime.streaming.buffers import Map, PaddedRowBuffer, RowBuffer, Store, WholeValue
from vaekit.runtime.streaming.endpoints import Read, ReadRows, WrittenRows
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import IN_PLACE, Apply, Convolve, Normalize, Pad, Reduction, Window
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.walk import RowRange, RowStep, Task, row_ranges, rows_read, walk
from vaekit.runtime.threads import run_parallel, threads_per_part

Stored = Map | WholeValue | WrittenRows
"""The storage of a value that a stage computes, or the end of the run."""
Kept = Stored | ReadRows
"""The storage of a value between stages, or an end of the run."""
SPARE = 32 << 20
"""The size of free slab buffers that are kept for the next stage, in bytes; its slabs mostly have other sizes."""


@dataclass(frozen=True)
class StageRows:
    """How to run a stage."""

    slab_rows: int
    """Rows per slab of its largest result, in each part."""
    parts: int = 1
    """The maximum number of parts that run in parallel."""
    maps_in_memory: int | None = None
    """The limit for stored maps in memory while it runs, in bytes; None for no limit."""
    buffers: int = sys.maxsize
    """The limit for the buffers of stored maps in bytes, including free ones."""
    trim_heap: bool = False
    """Whether to return freed memory to the system afterwards."""


def run_stages(
    stages: Stages,
    schedules: Sequence[StageRows],
    x: Tensor,
    store: Store,
    convolvers: Convolvers,
    keep_prepared: frozenset[int],
    guard: OverflowGuard,
    slabs: Arena,
) -> Tensor:
    """Run a network in stages. The result is in torch's own memory; all leases are returned, also after an error.

    Args:
        stages: of the network.
        schedules: how to run each stage.
        x: the network's input, one item.
        store: for maps between stages; it is closed at the end.
        convolvers: for the convolutions.
        keep_prepared: steps whose convolutions stay prepared for the next run.
        guard: for half precision.
        slabs: memory for slabs.
    """
    first = stages.steps[0]
    run = Run(stages, x.device, store, convolvers, {0: WholeValue(x, first.axis, first.unit)}, guard, slabs)
    run_all(run, schedules, keep_prepared)
    return run.whole(stages.output)


def stream_stages(
    stages: Stages,
    schedules: Sequence[StageRows],
    read: Read,
    write: WrittenRows,
    device: torch.device,
    store: Store,
    convolvers: Convolvers,
    keep_prepared: frozenset[int],
    guard: OverflowGuard,
    slabs: Arena,
) -> None:
    """Run a network in stages of one part, on an input that is read by ranges of rows; its output is written in order.

    Args:
        read: reads rows of the input.
        write: takes rows of the output.
        device: of the rows.
        stages, schedules, store, convolvers, keep_prepared, guard, slabs: see `run_stages`.
    """
    first = stages.steps[0]
    assert first.axis is not None and first.unit == 1
    source = ReadRows(read, first.axis, slabs)
    whole = WholeValue(read(0, first.rows), first.axis, first.unit) if 0 in stages.read_whole else None
    run = Run(stages, device, store, convolvers, {0: whole or source}, guard, slabs, write)
    try:
        run_all(run, schedules, keep_prepared)
    finally:
        source.keep_only((), True)
    if isinstance(computed := run.kept[stages.output], WholeValue):  # by a step that runs whole
        write.put(0, computed.tensor)


def run_all(run: "Run", schedules: Sequence[StageRows], keep_prepared: frozenset[int]) -> None:
    """Run all stages."""
    stages, store, convolvers, slabs = run.stages, run.store, run.convolvers, run.slabs
    convolvers.keep_only(keep_prepared)
    try:
        for number, (stage, schedule) in enumerate(zip(stages.stages, schedules, strict=True)):
            store.allow(schedule.maps_in_memory, schedule.buffers)
            StageRun(run, stage, number, schedule).execute()
            for i in [i for i, last in stages.last_use.items() if last == number]:
                run.kept.pop(i).keep_only((), True)
            convolvers.keep_only(keep_prepared)
            convolvers.release_buffers()
            slabs.trim(SPARE)
            if schedule.trim_heap:
                trim_heap()
    finally:
        store.close()


@dataclass
class Run:
    """The state shared by the stages of one run."""

    stages: Stages
    device: torch.device
    store: Store
    convolvers: Convolvers
    kept: dict[int, Kept]
    guard: OverflowGuard
    slabs: Arena
    write: WrittenRows | None = None
    """Takes the rows of the output; None if it is stored as a whole."""
    heap: HeapWatch = field(default_factory=HeapWatch)

    def allocated(self) -> int:
        """The size of all known allocations in bytes."""
        wholes = sum(each.tensor.nbytes for each in list(self.kept.values()) if isinstance(each, WholeValue))
        return wholes + self.store.arena.allocated + self.slabs.allocated

    def owned(self, output: Tensor) -> Tensor:
        """The output of an operation, copied if it is in leased memory: a view of an input."""
        return output.clone() if self.store.arena.holds(output) or self.slabs.holds(output) else output

    def keep(self, i: int) -> Stored:
        """Create the storage of a value that later stages read."""
        step = self.stages.steps[i]
        stored: Stored
        if i == self.stages.output and self.write is not None:
            stored = self.write
        elif i == self.stages.output or i in self.stages.read_whole:
            stored = WholeValue(torch.empty(step.shape, dtype=step.dtype, device=self.device), step.axis, step.unit)
        else:
            assert step.axis is not None
            stored = Map(self.store, step.axis, step.unit)
        self.kept[i] = stored
        return stored

    def whole(self, i: int) -> Tensor:
        """A value that is stored as a whole."""
        kept = self.kept[i]
        assert isinstance(kept, WholeValue)
        return kept.tensor


class StageRun:
    """The run of one stage."""

    def __init__(self, run: Run, stage: Stage, number: int, schedule: StageRows) -> None:
        self.run = run
        self.stage = stage
        self.number = number
        self.schedule = schedule
        self.steps = run.stages.steps
        self.rowed = [task for task in stage.tasks if not task.step.whole]
        self.keeping: dict[int, Stored] = {}
        self.stop = threading.Event()
        self._progress: dict[int, dict[int, tuple[int, int]]] = {}
        self._lock = threading.Lock()

    def execute(self) -> None:
        """Run all steps of the stage."""
        for task in self.stage.tasks:
            if task.step.whole:
                self.run_whole(task)
        kept = {task.index for task in self.rowed if not task.step.reduces} & set(self.stage.kept)
        self.keeping = {i: self.run.keep(i) for i in kept}
        ranges = row_ranges(self.steps, self.rowed, self.stage.kept, self.schedule.parts)
        for task in self.rowed:
            if isinstance(task.step.operation, Convolve):
                self.run.convolvers.prepare(task.index, task.step.operation, threads_per_part(len(ranges)))
        parts = [PartRun(self, row_range, number) for number, row_range in enumerate(ranges)]
        for number, part in enumerate(parts):
            for source, rows in part.row_range.reads.items():
                self._progress.setdefault(source, {})[number] = rows
        run_parallel([part.execute for part in parts], self.stop)
        for task in self.rowed:
            if isinstance(task.step.operation, Reduction):
                sums = [part.sums[task.index] for part in parts]
                self.run.kept[task.index] = WholeValue(reduce(task.step.operation.merge, sums), None, 0)

    def passed(self, part: int, source: int, row: int) -> None:
        """A part has finished reading an earlier stage's value above this row."""
        with self._lock:
            progress = self._progress[source]
            progress[part] = (row, progress[part][1])
            needed = [(a, b) for a, b in progress.values() if a < b]
        self.run.kept[source].keep_only(needed, self.run.stages.last_use.get(source) == self.number)

    def run_whole(self, task: Task) -> None:
        """Run a step on whole values."""
        step = task.step
        assert step.operation is not None
        output = step.operation.run((0, 0), [self.run.whole(each.step) for each in step.inputs])
        self.run.kept[task.index] = WholeValue(output, step.axis, step.unit)


class PartRun:
    """One part of a stage, from its top to its bottom."""

    def __init__(self, whole: StageRun, row_range: RowRange, number: int) -> None:
        self.whole = whole
        self.run = whole.run
        self.steps = whole.steps
        self.row_range = row_range
        self.number = number
        read = {source for task in whole.rowed for source, _ in task.reads}
        self.row_buffers = {
            task.index: (PaddedRowBuffer if task.pads else RowBuffer)(
                task.step.axis, task.step.unit, row_range.first[task.index], self.run.slabs
            )
            for task in whole.rowed
            if task.index in read and task.step.axis is not None
        }
        self.sums: dict[int, Tensor] = {}

    def execute(self) -> None:
        """Compute all rows; the memory of the row buffers is always returned."""
        try:
            self._walk()
        finally:
            for buffer in self.row_buffers.values():
                buffer.close()

    def _walk(self) -> None:
        """Compute the rows of all steps in order."""
        for row_step in walk(
            self.steps, self.whole.rowed, self.whole.stage.kept, self.whole.schedule.slab_rows, self.row_range
        ):
            if self.whole.stop.is_set():
                return
            if row_step.task.pads:
                self.pad(row_step)
            else:
                self.compute(row_step)
                if self.number == 0 and isinstance(row_step.task.step.operation, Convolve):
                    self.run.heap.check(self.run.allocated())
            for source, row in row_step.releases:
                if source in self.row_buffers:
                    self.row_buffers[source].release(row)
                else:
                    self.whole.passed(self.number, source, row)

    def source(self, i: int) -> Kept | RowBuffer:
        """The storage of the rows of a value."""
        return self.row_buffers[i] if i in self.row_buffers else self.run.kept[i]

    def compute(self, row_step: RowStep) -> None:
        """Compute rows of a task in a new tensor."""
        task, rows = row_step.task, (row_step.a, row_step.b)
        operation = task.step.operation
        assert operation is not None
        inputs = self.gather(task, rows)
        if isinstance(operation, Reduction):
            part, before = self.run.owned(operation.run(rows, inputs)), self.sums.get(task.index)
            self.sums[task.index] = part if before is None else operation.merge(before, part)
            return
        if task.step.dtype == self.run.guard.dtype and self.run.guard.enabled:
            output = self.run.guard.run(task.step, task.index, lambda x: self.apply(task, rows, x), inputs, rows)
        else:
            output = self.apply(task, rows, inputs)
        if task.index in self.row_buffers:
            self.row_buffers[task.index].append(self.run.owned(output))
        if task.index in self.whole.keeping:
            self.keep(task, output, row_step.a)

    def keep(self, task: Task, output: Tensor, row: int) -> None:
        """Store rows, of which the first is `row`, without those of neighboring parts."""
        assert task.step.axis is not None
        a, b = self.row_range.own[task.index]
        first, last = max(a, row), min(b, row + output.shape[task.step.axis] // task.step.unit)
        if first < last:
            stored = output.narrow(task.step.axis, (first - row) * task.step.unit, (last - first) * task.step.unit)
            self.whole.keeping[task.index].put(first, stored)

    def apply(self, task: Task, rows: tuple[int, int], inputs: Sequence[Tensor]) -> Tensor:
        """Run an operation, without a check for overflow."""
        operation = task.step.operation
        assert operation is not None
        if isinstance(operation, Convolve):
            return self.run.convolvers.run(task.index, inputs[0])
        if isinstance(operation, Apply) and task.overwrites is not None and not self.run.guard.enabled:
            return operation.overwrite(inputs, task.overwrites)
        return operation.run(rows, inputs)

    def gather(self, task: Task, rows: tuple[int, int]) -> list[Tensor]:
        """The inputs of an operation: rows, or whole values."""
        reads = iter(task.reads)
        return [self.rows_for(*next(reads), rows) if whole is None else self.run.whole(whole) for whole in task.wholes]

    def rows_for(self, source: int, window: Window, rows: tuple[int, int]) -> Tensor:
        """Rows of a value as one tensor."""
        step = self.steps[source]
        pieces = self.source(source).pieces(*rows_read(window, *rows, step.rows))
        assert step.axis is not None
        if not pieces:  # all rows are padding
            shape = (*step.shape[: step.axis], 0, *step.shape[step.axis + 1 :])
            return torch.empty(shape, dtype=step.dtype, device=self.run.device)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=step.axis)

    def pad(self, row_step: RowStep) -> None:
        """Pad rows, in the buffer of the previous rows, so that nothing is copied twice."""
        task, operation = row_step.task, row_step.task.step.operation
        assert isinstance(operation, Pad)
        ((source, window),) = task.reads
        first, last = rows_read(window, row_step.a, row_step.b, self.steps[source].rows)
        pieces = self.source(source).pieces(first, last) if first < last else []
        dtype = self.dtype_for(task, pieces)
        padded = self.row_buffers[task.index]
        assert isinstance(padded, PaddedRowBuffer)
        buffer, new, fresh = padded.grow(row_step.b - row_step.a, task.step.shape, dtype)
        *sides, top, _ = operation.amounts
        rows = max(0, min(top, row_step.b) - row_step.a)
        inside = new
        if sides:
            left, right = sides
            inside = new.narrow(3, left, new.shape[3] - left - right)
            if fresh:  # otherwise the padding at the sides is still there
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
        """The dtype of a slab: that of the network, or fp32 if values exceed its range."""
        before = self.row_buffers[task.index].tensor
        normed = any(isinstance(step.operation, Normalize) for step in task.ahead)
        dtypes = [*([] if normed else [piece.dtype for piece in pieces]), *([] if before is None else [before.dtype])]
        return torch.float32 if torch.float32 in dtypes else task.step.dtype

    def fill(self, buffer: Tensor, piece: Tensor, ahead: tuple[Step, ...]) -> None:
        """Copy rows, and run the steps before the padding in place; for half precision, in fp32."""
        if ahead and self.run.guard.enabled:
            exact = piece.to(torch.float32, copy=True)
            self.fill_in(exact, exact, ahead)
            buffer.copy_(exact)
        else:
            self.fill_in(buffer, piece, ahead)

    def fill_in(self, buffer: Tensor, piece: Tensor, ahead: tuple[Step, ...]) -> None:
        """The same, in the dtype of the buffer."""
        copied = buffer is piece
        for step in ahead:
            if isinstance(step.operation, Normalize):
                scale, shift = step.operation.scale_and_shift(piece, self.run.whole(step.inputs[1].step))
                torch.mul(buffer if copied else piece, scale, out=buffer).add_(shift)
            else:
                if not copied:
                    buffer.copy_(piece)
                assert isinstance(step.operation, Apply)
                IN_PLACE[step.operation.function](buffer)
            copied = True
        if not copied:
            buffer.copy_(piece)
