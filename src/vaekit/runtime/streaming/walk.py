"""The order of operations in a stage: which rows each step reads, and how far it must advance for the next slab.

The order is a sequence of row steps that needs no tensors: both the executor and the memory forecast follow it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import IN_PLACE, SAME_ROW, Apply, Convolve, Normalize, Pad, Window

TILE = 4
"""The tile size of Winograd convolutions: parts are cut at multiples of it."""


@dataclass(frozen=True)
class Task:
    """A step in one stage, with the cheap steps before it that are fused into it."""

    index: int
    step: Step
    ahead: tuple[Step, ...]
    """Steps that run in place on the copied input, in order."""
    reads: tuple[tuple[int, Window], ...]
    """Steps whose rows it reads."""
    wholes: tuple[int | None, ...]
    """For each input of the step, the step whose whole value it is; None for rows."""
    rows: int
    """The number of rows that it processes."""
    last_user_of: tuple[int, ...]
    """Steps whose rows no later task of this stage reads."""

    pads: bool
    """Whether it pads a map with a constant, for convolutions only."""
    overwrites: int | None
    """The index of an input that no other step reads, so that the result can overwrite it."""


@dataclass(frozen=True)
class RowStep:
    """Compute rows a..b of a task, then release rows of its inputs."""

    task: Task
    a: int
    b: int
    releases: tuple[tuple[int, int], ...]
    """(step, row): rows of the step's value above this row are not read again in this stage."""


def tasks_for(steps: Sequence[Step], inside: Sequence[int], kept: tuple[int, ...]) -> tuple[Task, ...]:
    """The tasks of a stage, given its steps and those that are stored."""
    users: dict[int, list[int]] = {}
    for i in inside:
        for each in steps[i].inputs:
            users.setdefault(each.step, []).append(i)
    ahead: dict[int, tuple[Step, ...]] = {}
    bases: dict[int, int] = {}
    absorbed: set[int] = set()
    padded = {
        i
        for i in users.keys() & set(inside) - set(kept)
        if pads_with_constant(steps[i]) and all(convolves(steps[j]) for j in users[i])
    }
    for i in inside:
        if i in padded:
            base = steps[i].inputs[0].step
            chain: tuple[Step, ...] = ()
            while base in inside and len(users[base]) == 1 and base not in kept and can_run_in_place(steps[base]):
                absorbed.add(base)
                chain = (steps[base], *chain)
                base = steps[base].inputs[0].step
            ahead[i], bases[i] = chain, base
    remaining = [i for i in inside if i not in absorbed]
    reads = {
        i: tuple((bases.get(i, each.step), each.window) for each in steps[i].inputs if each.window is not None)
        for i in remaining
    }
    last_users = {source: i for i in remaining for source, _ in reads[i]}
    return tuple(
        Task(
            i,
            steps[i],
            ahead.get(i, ()),
            reads[i],
            tuple(each.step if each.window is None else None for each in steps[i].inputs),
            steps[steps[i].inputs[0].step].rows if steps[i].reduces else steps[i].rows,
            tuple(source for source, user in last_users.items() if user == i),
            i in padded,
            overwritten(steps, i, users, inside, kept),
        )
        for i in remaining
    )


def overwritten(
    steps: Sequence[Step], i: int, users: Mapping[int, Sequence[int]], inside: Sequence[int], kept: tuple[int, ...]
) -> int | None:
    """The index of an input that a step can overwrite: computed in this stage, in its own memory, for this step
    only."""
    step = steps[i]
    if not (isinstance(step.operation, Apply) and step.operation.can_overwrite):
        return None
    for index, each in enumerate(step.inputs):
        source = steps[each.step]
        own = convolves(source) or (isinstance(source.operation, Apply) and source.operation.can_overwrite)
        free = each.step in inside and each.step not in kept and users[each.step] == [i]
        if own and free and (source.shape, source.dtype, each.window) == (step.shape, step.dtype, SAME_ROW):
            return index
    return None


def pads_with_constant(step: Step) -> bool:
    """Whether a step pads a map with a constant."""
    return isinstance(step.operation, Pad) and step.operation.mode == "constant"


def convolves(step: Step) -> bool:
    """Whether a step is a convolution."""
    return isinstance(step.operation, Convolve)


def can_run_in_place(step: Step) -> bool:
    """Whether a step can run in place on a copy of its input."""
    operation = step.operation
    return isinstance(operation, Normalize) or (isinstance(operation, Apply) and operation.function in IN_PLACE)


@dataclass(frozen=True)
class RowRange:
    """The part of a stage that one worker runs from top to bottom; tables by step.

    Rows around a worker's own that its convolutions read are also computed by its neighbor.
    """

    own: dict[int, tuple[int, int]]
    """For the targets of the stage: the rows that no other part stores."""
    first: dict[int, int]
    """The first row that is computed."""
    last: dict[int, int]
    """One past the last row that is computed."""
    reads: dict[int, tuple[int, int]]
    """For the steps of earlier stages: the rows that are read."""


def row_ranges(steps: Sequence[Step], tasks: Sequence[Task], kept: tuple[int, ...], parts: int) -> list[RowRange]:
    """Divide a stage into at most `parts` parts.

    Args:
        steps: all steps of the network.
        tasks: those of the stage that run by rows.
        kept: steps of the stage whose values are stored.
        parts: the maximum number of parts.
    """
    targets = targets_of(tasks, kept)
    total = max((task.rows for task in targets), default=0)
    unit = math.lcm(TILE, *(math.lcm(granule(task) * total, task.rows) // task.rows for task in targets))
    cuts = sorted({0, total, *(total * k // parts // unit * unit for k in range(1, parts))})
    ranges = []
    for start, end in pairwise(cuts):
        own = {task.index: (start * task.rows // total, end * task.rows // total) for task in targets}
        first, last = first_rows(tasks, own), dict.fromkeys((task.index for task in tasks), 0)
        advance(steps, tasks, last | {i: b for i, (_, b) in own.items()}, last)
        reads: dict[int, tuple[int, int]] = {}
        for task in tasks:
            for source, window in task.reads:
                if source not in last and last[task.index] > first[task.index]:
                    a, b = rows_read(window, first[task.index], last[task.index], steps[source].rows)
                    before = reads.get(source, (a, b))
                    reads[source] = (min(a, before[0]), max(b, before[1]))
        ranges.append(RowRange(own, first, last, reads))
    return ranges


def targets_of(tasks: Sequence[Task], kept: tuple[int, ...]) -> list[Task]:
    """The tasks whose results are the purpose of a stage."""
    return [task for task in tasks if task.index in kept or task.step.reduces]


def granule(task: Task) -> int:
    """The number of rows that a task computes together: those that depend on the same rows."""
    return max(window.enlarge for _, window in task.reads)


def first_rows(tasks: Sequence[Task], own: dict[int, tuple[int, int]]) -> dict[int, int]:
    """The first row of each task, if the targets begin with these rows."""
    first = {task.index: own[task.index][0] if task.index in own else task.rows for task in tasks}
    for task in reversed(tasks):
        first[task.index] -= first[task.index] % granule(task)
        for source, window in task.reads:
            if source in first:
                first[source] = min(first[source], max(0, window.first(first[task.index])))
    return first


def advance(steps: Sequence[Step], tasks: Sequence[Task], target: dict[int, int], done: dict[int, int]) -> None:
    """Update `done`, the end row of each task, so that all tasks reach their target rows."""
    for task in reversed(tasks):
        size = granule(task)
        end = min(-(-target[task.index] // size) * size, task.rows)
        if end > done[task.index]:
            done[task.index] = end
            for source, window in task.reads:
                if source in target:
                    target[source] = max(target[source], min(window.end(end), steps[source].rows))


def walk(
    steps: Sequence[Step], tasks: Sequence[Task], kept: tuple[int, ...], slab_rows: int, row_range: RowRange
) -> Iterator[RowStep]:
    """The row steps of a part of a stage, in order.

    Args:
        steps: all steps of the network.
        tasks: those of the stage that run by rows.
        kept: steps of the stage whose values are stored.
        slab_rows: rows of the largest result per slab.
        row_range: the part.
    """
    done = dict(row_range.first)
    targets = targets_of(tasks, kept)
    readers: dict[int, list[tuple[Task, Window]]] = {}
    for task in tasks:
        for source, window in task.reads:
            readers.setdefault(source, []).append((task, window))
    largest = max(targets, key=lambda task: task.rows)  # a part has at least one target
    for row in range(*row_range.own[largest.index], slab_rows):
        end = min(row + slab_rows, row_range.own[largest.index][1])
        wanted = {task.index: -(-end * task.rows // largest.rows) for task in targets}
        before = dict(done)
        advance(steps, tasks, before | wanted, done)
        for task in tasks:
            a, b = before[task.index], done[task.index]
            if b > a:
                releases = tuple(
                    (source, first_needed(readers[source], done, row_range, steps[source].rows))
                    for source in task.last_user_of
                )
                yield RowStep(task, a, b, releases)


def first_needed(readers: list[tuple[Task, Window]], done: dict[int, int], row_range: RowRange, rows: int) -> int:
    """The first row that a task will read again."""
    ends = ((task, window, done[task.index]) for task, window in readers)
    firsts = (window.first(end) if end < row_range.last[task.index] else rows for task, window, end in ends)
    return min(max(0, min(firsts)), rows)


def rows_read(window: Window, a: int, b: int, rows: int) -> tuple[int, int]:
    """The rows of a value with `rows` rows that a window covers for output rows a..b."""
    return min(max(0, window.first(a)), rows), max(0, min(window.end(b), rows))
