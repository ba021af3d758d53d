"""The steps of one stage as they are run: who reads whose rows, and how far each has to go for the next slab.

The walk through a stage is told as a list of moves, before and without any tensor: what runs a stage follows it, and so
does what predicts how much memory that will take.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vaekit.runtime.operations import ON_ITSELF, Apply, Normalise, Pad, Window
from vaekit.runtime.steps import Step


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

    @property
    def pads(self) -> bool:
        """Whether it lays a constant around a map."""
        return isinstance(self.step.operation, Pad) and self.step.operation.mode == "constant"


@dataclass(frozen=True)
class Move:
    """A task makes rows a..b; then rows above some are not read again in this stage."""

    task: Task
    a: int
    b: int
    releases: tuple[tuple[int, int], ...]
    """(step, row): rows of the step's value above this one have been read for the last time in this stage."""


def tasks_of(steps: Sequence[Step], inside: Sequence[int], kept: tuple[int, ...]) -> tuple[Task, ...]:
    """The tasks of a stage, given the steps in it and those of them that are kept."""
    users: dict[int, list[int]] = {}
    for i in inside:
        for each in steps[i].inputs:
            users.setdefault(each.step, []).append(i)
    ahead: dict[int, tuple[Step, ...]] = {}
    bases: dict[int, int] = {}
    absorbed: set[int] = set()
    for i in inside:
        operation = steps[i].operation
        if isinstance(operation, Pad) and operation.mode == "constant":
            base = steps[i].inputs[0].step
            chain: tuple[Step, ...] = ()
            while base in inside and len(users[base]) == 1 and base not in kept and goes_ahead(steps[base]):
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
        )
        for i in remaining
    )


def goes_ahead(step: Step) -> bool:
    """Whether a step can be done in place on a copy of its input."""
    operation = step.operation
    return isinstance(operation, Normalise) or (isinstance(operation, Apply) and operation.function in ON_ITSELF)


def walk(steps: Sequence[Step], tasks: Sequence[Task], kept: tuple[int, ...], slab_rows: int) -> Iterator[Move]:
    """The moves of a stage.

    Args:
        steps: all steps of the network.
        tasks: those of the stage that go by rows.
        kept: steps of the stage whose values are kept.
        slab_rows: how many rows of the largest result there are in a slab.
    """
    done = {task.index: 0 for task in tasks}
    targets = [task for task in tasks if task.index in kept or task.step.reduces]
    readers: dict[int, list[tuple[Task, Window]]] = {}
    for task in tasks:
        for source, window in task.reads:
            readers.setdefault(source, []).append((task, window))
    total = max((task.rows for task in targets), default=0)
    for start in range(0, total, slab_rows):
        end = min(start + slab_rows, total)
        want = dict(done)
        for task in targets:
            want[task.index] = -(-end * task.rows // total)
        for task in reversed(tasks):
            granule = max(window.enlarge for _, window in task.reads)
            want[task.index] = min(-(-want[task.index] // granule) * granule, task.rows)
            if want[task.index] > done[task.index]:
                for source, window in task.reads:
                    if source in want:
                        needed = min(window.end(want[task.index]), steps[source].rows)
                        want[source] = max(want[source], needed)
        for task in tasks:
            a, b = done[task.index], want[task.index]
            if b > a:
                done[task.index] = b
                releases = tuple(
                    (source, first_needed(readers[source], done, steps[source].rows)) for source in task.last_user_of
                )
                yield Move(task, a, b, releases)


def first_needed(readers: list[tuple[Task, Window]], done: dict[int, int], rows: int) -> int:
    """The first row that some task will look at again."""
    firsts = (window.first(done[task.index]) if done[task.index] < task.rows else rows for task, window in readers)
    return min(max(0, min(firsts)), rows)


def looked_at(window: Window, a: int, b: int, rows: int) -> tuple[int, int]:
    """The rows of a value of so many that a window shows for rows a..b."""
    return min(max(0, window.first(a)), rows), max(0, min(window.end(b), rows))
