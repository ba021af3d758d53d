"""Run stages, slab by slab."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.lowering import Step
from vaekit.runtime.maps import Map, Store, Strip, Whole
from vaekit.runtime.operations import Apply, Convolve, Moments, Normalise, Pad, Total, Window
from vaekit.runtime.stages import Stage, Stages

Source = Map | Whole | Strip
Convolver = Callable[[Tensor], Tensor]


def stream(
    stages: Stages,
    given: Tensor,
    slab_rows: Sequence[int],
    store: Store,
    convolvers: Callable[[int, Convolve], Convolver],
    out: Tensor | None = None,
) -> Tensor:
    """Run a network in stages.

    Args:
        stages: what to do.
        given: its input, one item.
        slab_rows: for each stage, how many rows of its largest result go through at once.
        store: keeps maps in between.
        convolvers: what runs the convolution of a step.
        out: where to put the result; a new tensor without it.
    """
    return Run(stages, given, store, convolvers, out).result(slab_rows)


class Run:
    """The work of `stream`."""

    def __init__(
        self,
        stages: Stages,
        given: Tensor,
        store: Store,
        convolvers: Callable[[int, Convolve], Convolver],
        out: Tensor | None,
    ) -> None:
        self.stages = stages
        self.steps = stages.steps
        self.store = store
        self.device = given.device
        self.convolvers = convolvers
        self.out = out
        first = self.steps[0]
        self.kept: dict[int, Map | Whole] = {0: Whole(given, first.axis, first.unit)}

    def result(self, slab_rows: Sequence[int]) -> Tensor:
        for number, (stage, rows) in enumerate(zip(self.stages.stages, slab_rows, strict=True)):
            StageRun(self, stage, number).go(rows)
            for i, last in self.stages.last_use.items():
                if last == number:
                    self.let_go(i)
        final = self.kept[self.stages.output]
        assert isinstance(final, Whole)
        return final.tensor

    def let_go(self, i: int) -> None:
        """Drop a value that no later stage reads."""
        self.kept.pop(i).release(self.steps[i].rows)

    def keep(self, i: int) -> Map | Whole:
        """Make room for a value that later stages read."""
        step = self.steps[i]
        if i == self.stages.output and self.out is not None:
            made: Map | Whole = Whole(self.out, step.axis, step.unit)
        elif i == self.stages.output or i in self.stages.read_whole:
            made = Whole(torch.empty(step.shape, dtype=step.dtype, device=self.device), step.axis, step.unit)
        else:
            assert step.axis is not None
            made = Map(self.store, step.axis, step.unit, self.device)
        self.kept[i] = made
        return made


@dataclass
class Task:
    """A step in one stage, and the cheap ones in front of it that it does on its own."""

    index: int
    step: Step
    ahead: tuple[Step, ...]
    """Steps that are done in place on what this one has copied, the first of them first."""
    inputs: tuple[tuple[int, Window], ...]
    """Steps whose rows it reads."""
    wholes: tuple[int | None, ...]
    """For each input of the step, whose whole value it is; None for rows."""
    last_user_of: tuple[int, ...] = ()
    done: int = 0
    want: int = 0


class StageRun:
    """One stage at work."""

    def __init__(self, run: Run, stage: Stage, number: int) -> None:
        self.run = run
        self.steps = run.steps
        self.number = number
        self.stage = stage
        self.tasks = tasks_of(run.steps, stage, set(run.kept))
        self.strips: dict[int, Strip] = {}
        self.sums: dict[int, Tensor] = {}
        users: dict[int, int] = {}
        for position, task in enumerate(self.tasks):
            for source, _ in task.inputs:
                users[source] = position
        for source, position in users.items():
            self.tasks[position].last_user_of += (source,)
        for task in self.tasks:
            axis = task.step.axis
            if task.index in users and axis is not None and not task.step.whole:
                self.strips[task.index] = Strip(axis, task.step.unit)
        self.keeping = {i: run.keep(i) for i in stage.kept if not (self.steps[i].whole or self.steps[i].reduces)}

    def go(self, slab_rows: int) -> None:
        for task in self.tasks:
            if task.step.whole:
                self.run_whole(task)
        rowed = [task for task in self.tasks if not task.step.whole]
        targets = [task for task in rowed if task.index in self.keeping or task.step.reduces]
        total = max((self.rows_of(task) for task in targets), default=0)
        for end in range(slab_rows, total + slab_rows, slab_rows):
            done = min(end, total)
            for task in rowed:
                task.want = task.done
            for task in targets:
                task.want = -(-done * self.rows_of(task) // total)
            self.pull(rowed)
            for task in rowed:
                if task.want > task.done:
                    self.advance(task)
        for index, value in self.sums.items():
            self.run.kept[index] = Whole(value, None, 0)

    def rows_of(self, task: Task) -> int:
        """Rows that a task has to go through."""
        return self.steps[task.inputs[0][0]].rows if task.step.reduces else task.step.rows

    def pull(self, tasks: list[Task]) -> None:
        """Find out how far each task has to go for those behind it."""
        by_index = {task.index: task for task in tasks}
        for task in reversed(tasks):
            granule = task.inputs[0][1].enlarge
            task.want = min(-(-task.want // granule) * granule, self.rows_of(task))
            if task.want <= task.done:
                continue
            for source, window in task.inputs:
                if source in by_index:
                    end = min(window.end(task.want), self.steps[source].rows)
                    by_index[source].want = max(by_index[source].want, end)

    def source(self, i: int) -> Source:
        """Where the rows of a value are."""
        return self.strips[i] if i in self.strips else self.run.kept[i]

    def advance(self, task: Task) -> None:
        """Let a task make its next rows."""
        rows = (task.done, task.want)
        if isinstance(task.step.operation, Pad) and task.step.operation.mode == "constant":
            self.pad(task, task.step.operation, rows)
        else:
            self.make(task, rows)
        task.done = task.want
        for source in task.last_user_of:
            self.release(source)

    def release(self, source: int) -> None:
        """Let go of rows that no task of this stage will look at again."""
        if source not in self.strips and self.run.stages.last_use[source] != self.number:
            return
        firsts = [
            window.first(task.done) if task.done < self.rows_of(task) else self.steps[source].rows
            for task in self.tasks
            for each, window in task.inputs
            if each == source
        ]
        self.source(source).release(max(0, min(firsts)))

    def make(self, task: Task, rows: tuple[int, int]) -> None:
        """Rows of a task that gives them in a tensor of its own."""
        operation = task.step.operation
        assert operation is not None
        given = self.gathered(task, rows)
        if isinstance(operation, Moments | Total):
            part = operation.run(rows, given)
            before = self.sums.get(task.index)
            self.sums[task.index] = part if before is None else operation.merge(before, part)
            return
        made = (
            self.run.convolvers(task.index, operation)(given[0])
            if isinstance(operation, Convolve)
            else operation.run(rows, given)
        )
        self.hand_on(task, made)

    def hand_on(self, task: Task, made: Tensor) -> None:
        """Give rows to those who need them."""
        if task.index in self.strips:
            self.strips[task.index].append(made)
        if task.index in self.keeping:
            self.keeping[task.index].append(made)

    def gathered(self, task: Task, rows: tuple[int, int]) -> list[Tensor]:
        """What an operation is given: rows, or whole values."""
        windows = iter(task.inputs)
        given = []
        for whole in task.wholes:
            if whole is None:
                given.append(joined(self.looked_at(next(windows), rows), self.source, self.steps))
            else:
                given.append(self.whole_value(whole))
        return given

    def looked_at(self, entry: tuple[int, Window], rows: tuple[int, int]) -> tuple[int, int, int]:
        """The rows of a value that a window shows."""
        source, window = entry
        count = self.steps[source].rows
        return source, min(max(0, window.first(rows[0])), count), min(window.end(rows[1]), count)

    def whole_value(self, i: int) -> Tensor:
        """A value that is there as a whole."""
        kept = self.run.kept[i]
        assert isinstance(kept, Whole)
        return kept.tensor

    def run_whole(self, task: Task) -> None:
        """A step that is not done by rows."""
        step = task.step
        assert step.operation is not None
        given = [self.whole_value(each.step) for each in step.inputs]
        made = step.operation.run((0, 0), given)
        if task.index == self.run.stages.output and self.run.out is not None:
            made = self.run.out.copy_(made)
        self.run.kept[task.index] = Whole(made, step.axis, step.unit)

    def pad(self, task: Task, operation: Pad, rows: tuple[int, int]) -> None:
        """Pad, into a tensor that has room for the rows that are still needed, so that nothing is copied twice."""
        source, window = task.inputs[0]
        strip = self.strips[task.index]
        new = strip.grow(rows[1] - rows[0], task.step.shape, task.step.dtype, self.run.device)
        left, right, top, _ = operation.amounts
        _, first, last = self.looked_at((source, window), rows)
        above, inner = max(0, top - rows[0]), last - first
        columns = new.shape[3] - left - right
        new[:, :, :above].fill_(operation.value)
        new[:, :, above + inner :].fill_(operation.value)
        new[:, :, :, :left].fill_(operation.value)
        new[:, :, :, left + columns :].fill_(operation.value)
        filled = above
        for piece in self.source(source).pieces(first, last):
            room = new[:, :, filled : filled + piece.shape[2], left : left + columns]
            self.fill(room, piece, task.ahead)
            filled += piece.shape[2]

    def fill(self, room: Tensor, piece: Tensor, ahead: tuple[Step, ...]) -> None:
        """Copy rows, and do in place what comes before the padding."""
        copied = False
        for step in ahead:
            operation = step.operation
            if isinstance(operation, Normalise):
                scale, shift = operation.line(piece, self.whole_value(step.inputs[1].step))
                torch.mul(room if copied else piece, scale, out=room).add_(shift)
            else:
                if not copied:
                    room.copy_(piece)
                assert isinstance(operation, Apply)
                in_place(operation, room)
            copied = True
        if not copied:
            room.copy_(piece)


IN_PLACE: dict[object, Callable[..., Tensor]] = {
    F.silu: lambda x, **_: F.silu(x, inplace=True),
    F.relu: lambda x, **_: x.relu_(),
    torch.relu: lambda x: x.relu_(),
}


def in_place(operation: Apply, x: Tensor) -> None:
    """An activation, on the tensor itself."""
    IN_PLACE[operation.function](x)


def joined(rows: tuple[int, int, int], source: Callable[[int], Source], steps: tuple[Step, ...]) -> Tensor:
    """Rows of a value in one tensor."""
    index, first, last = rows
    pieces = source(index).pieces(first, last)
    if len(pieces) == 1:
        return pieces[0]
    axis = steps[index].axis
    assert axis is not None
    return torch.cat(pieces, dim=axis)


def tasks_of(steps: tuple[Step, ...], stage: Stage, kept: set[int]) -> list[Task]:
    """The tasks of a stage; what pads does the activations in front of it."""
    inside = [i for i in stage.steps]
    users: dict[int, list[int]] = {}
    for i in inside:
        for each in steps[i].inputs:
            users.setdefault(each.step, []).append(i)
    absorbed: set[int] = set()
    ahead: dict[int, tuple[Step, ...]] = {}
    bases: dict[int, int] = {}
    for i in inside:
        operation = steps[i].operation
        if isinstance(operation, Pad) and operation.mode == "constant":
            base, chain = steps[i].inputs[0].step, ()
            while (
                base in inside
                and users[base] == [users[base][0]]
                and base not in stage.kept
                and can_go_ahead(steps[base])
            ):
                absorbed.add(base)
                chain = (steps[base], *chain)
                base = steps[base].inputs[0].step
            ahead[i], bases[i] = chain, base
    return [
        Task(
            i,
            steps[i],
            ahead.get(i, ()),
            tuple(
                (bases.get(i, each.step), each.window) for each in steps[i].inputs if each.window is not None
            ),
            tuple(each.step if each.window is None else None for each in steps[i].inputs),
        )
        for i in inside
        if i not in absorbed
    ]


def can_go_ahead(step: Step) -> bool:
    """Whether a step can be done in place on a copy of its input."""
    operation = step.operation
    return isinstance(operation, Normalise) or (isinstance(operation, Apply) and operation.function in IN_PLACE)
