"""The order of operations in a stage: which rows each step reads, and how far it must advance for the next slab.

The walk through a stage is told as a list of moves, before and without any tensor: what runs a stage follows it, and so
does what predicts how much memory that will take.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import ON_ITSELF, SAME_ROW, Apply, Convolve, Normalize, Pad, Window

TILE = 4
"""Rows that a Winograd convolution makes at once: work is cut in multiples of them."""


@dataclass(frozen=True)
class Task:
    """A step in one stage, and the cheap ones in front of it that it does on its own."""

    index: int
    step: Step
    ahead: tuple[Step, ...]
    """Steps that are done in place on what this one has copied, the first of them first."""
    reads: tuple[tuple[int, Window], ...]
    """Steps whose rows it reads."""
    wholes: tuple[int | None, ...]
    """For each input of the step, whose whole value it is; None for rows."""
    rows: int
    """Rows that it goes through."""
    last_user_of: tuple[int, ...]
    """Steps whose rows nobody reads after it, in this stage."""

    pads: bool
    """Whether it lays a constant around a map, for convolutions only."""
    over: int | None
    """Which of its inputs nobody else reads, so that the result can be written over it."""


@dataclass(frozen=True)
class RowStep:
    """A task makes rows a..b; then rows above some are not read again in this stage."""

    task: Task
    a: int
    b: int
    releases: tuple[tuple[int, int], ...]
    """(step, row): rows of the step's value above this one have been read for the last time in this stage."""


def tasks_for(steps: Sequence[Step], inside: Sequence[int], kept: tuple[int, ...]) -> tuple[Task, ...]:
    """The tasks of a stage, given the steps in it and those of them that are kept."""
    users: dict[int, list[int]] = {}
    for i in inside:
        for each in steps[i].inputs:
            users.setdefault(each.step, []).append(i)
    ahead: dict[int, tuple[Step, ...]] = {}
    bases: dict[int, int] = {}
    absorbed: set[int] = set()
    frames = {
        i
        for i in users.keys() & set(inside) - set(kept)
        if lays_constant(steps[i]) and all(convolves(steps[j]) for j in users[i])
    }
    for i in inside:
        if i in frames:
            base = steps[i].inputs[0].step
            chain: tuple[Step, ...] = ()
            while base in inside and len(users[base]) == 1 and base not in kept and runs_ahead(steps[base]):
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
            i in frames,
            overwritten(steps, i, users, inside, kept),
        )
        for i in remaining
    )


def overwritten(
    steps: Sequence[Step], i: int, users: Mapping[int, Sequence[int]], inside: Sequence[int], kept: tuple[int, ...]
) -> int | None:
    """The place of an input that a step can write its result over: made in this stage, in memory of its own, for it."""
    step = steps[i]
    if not (isinstance(step.operation, Apply) and step.operation.can_overwrite):
        return None
    for place, each in enumerate(step.inputs):
        source = steps[each.step]
        own = convolves(source) or (isinstance(source.operation, Apply) and source.operation.can_overwrite)
        free = each.step in inside and each.step not in kept and users[each.step] == [i]
        if own and free and (source.shape, source.dtype, each.window) == (step.shape, step.dtype, SAME_ROW):
            return place
    return None


def lays_constant(step: Step) -> bool:
    """Whether a step lays a constant around a map."""
    return isinstance(step.operation, Pad) and step.operation.mode == "constant"


def convolves(step: Step) -> bool:
    """Whether a step is a convolution."""
    return isinstance(step.operation, Convolve)


def runs_ahead(step: Step) -> bool:
    """Whether a step can be done in place on a copy of its input."""
    operation = step.operation
    return isinstance(operation, Normalize) or (isinstance(operation, Apply) and operation.function in ON_ITSELF)


@dataclass(frozen=True)
class RowRange:
    """The part of a stage that is done from top to bottom by one worker.

    Each table tells it for the tasks by their steps. Rows around a worker's own that its convolutions look at are made
    by its neighbor, too.
    """

    own: dict[int, tuple[int, int]]
    """For those that make what the stage is for: the rows that nobody else keeps."""
    first: dict[int, int]
    """The first row that is made here."""
    last: dict[int, int]
    """One past the last one."""
    seen: dict[int, tuple[int, int]]
    """For the steps of earlier stages, the rows that are looked at."""


def row_ranges(steps: Sequence[Step], tasks: Sequence[Task], kept: tuple[int, ...], parts: int) -> list[RowRange]:
    """The parts of a stage, as many as asked for or fewer: rows that go together stay together.

    Args:
        steps: all steps of the network.
        tasks: those of the stage that go by rows.
        kept: steps of the stage whose values are kept.
        parts: how many there may be.
    """
    targets = targets_of(tasks, kept)
    total = max((task.rows for task in targets), default=0)
    unit = math.lcm(TILE, *(math.lcm(granule(task) * total, task.rows) // task.rows for task in targets))
    cuts = sorted({0, total, *(total * k // parts // unit * unit for k in range(1, parts))})
    shares = []
    for start, end in pairwise(cuts):
        own = {task.index: (start * task.rows // total, end * task.rows // total) for task in targets}
        first, last = first_rows(tasks, own), dict.fromkeys((task.index for task in tasks), 0)
        reach(steps, tasks, last | {i: b for i, (_, b) in own.items()}, last)
        seen: dict[int, tuple[int, int]] = {}
        for task in tasks:
            for source, window in task.reads:
                if source not in last and last[task.index] > first[task.index]:
                    a, b = rows_read(window, first[task.index], last[task.index], steps[source].rows)
                    before = seen.get(source, (a, b))
                    seen[source] = (min(a, before[0]), max(b, before[1]))
        shares.append(RowRange(own, first, last, seen))
    return shares


def targets_of(tasks: Sequence[Task], kept: tuple[int, ...]) -> list[Task]:
    """The tasks that a stage is there for."""
    return [task for task in tasks if task.index in kept or task.step.reduces]


def granule(task: Task) -> int:
    """How many rows a task makes together at least: those that are made of the same rows."""
    return max(window.enlarge for _, window in task.reads)


def first_rows(tasks: Sequence[Task], own: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Where each task begins, if the targets begin with these rows."""
    first = {task.index: own[task.index][0] if task.index in own else task.rows for task in tasks}
    for task in reversed(tasks):
        first[task.index] -= first[task.index] % granule(task)
        for source, window in task.reads:
            if source in first:
                first[source] = min(first[source], max(0, window.first(first[task.index])))
    return first


def reach(steps: Sequence[Step], tasks: Sequence[Task], want: dict[int, int], done: dict[int, int]) -> None:
    """Note in `done` how far each task goes, if the targets go as far as is wanted."""
    for task in reversed(tasks):
        size = granule(task)
        end = min(-(-want[task.index] // size) * size, task.rows)
        if end > done[task.index]:
            done[task.index] = end
            for source, window in task.reads:
                if source in want:
                    want[source] = max(want[source], min(window.end(end), steps[source].rows))


def walk(
    steps: Sequence[Step], tasks: Sequence[Task], kept: tuple[int, ...], slab_rows: int, share: RowRange
) -> Iterator[RowStep]:
    """The moves of a stage.

    Args:
        steps: all steps of the network.
        tasks: those of the stage that go by rows.
        kept: steps of the stage whose values are kept.
        slab_rows: how many rows of the largest result there are in a slab.
        share: the part of the stage that is walked through.
    """
    done = dict(share.first)
    targets = targets_of(tasks, kept)
    readers: dict[int, list[tuple[Task, Window]]] = {}
    for task in tasks:
        for source, window in task.reads:
            readers.setdefault(source, []).append((task, window))
    largest = max(targets, key=lambda task: task.rows)  # a share has something to do
    for row in range(*share.own[largest.index], slab_rows):
        end = min(row + slab_rows, share.own[largest.index][1])
        wanted = {task.index: -(-end * task.rows // largest.rows) for task in targets}
        before = dict(done)
        reach(steps, tasks, before | wanted, done)
        for task in tasks:
            a, b = before[task.index], done[task.index]
            if b > a:
                releases = tuple(
                    (source, first_needed(readers[source], done, share, steps[source].rows))
                    for source in task.last_user_of
                )
                yield RowStep(task, a, b, releases)


def first_needed(readers: list[tuple[Task, Window]], done: dict[int, int], share: RowRange, rows: int) -> int:
    """The first row that some task will look at again."""
    ends = ((task, window, done[task.index]) for task, window in readers)
    firsts = (window.first(end) if end < share.last[task.index] else rows for task, window, end in ends)
    return min(max(0, min(firsts)), rows)


def rows_read(window: Window, a: int, b: int, rows: int) -> tuple[int, int]:
    """The rows of a value of so many that a window shows for rows a..b."""
    return min(max(0, window.first(a)), rows), max(0, min(window.end(b), rows))
