"""Predict the memory of a run.

Of a run in slabs, the first slabs of each stage are followed move by move with sizes in place of tensors: later slabs
are no larger. Kept maps only grow or shrink while a stage runs, so that what they take is known at its two ends.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vaekit.runtime.backends import Convolvers
from vaekit.runtime.streaming.executor import StageRows
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import Apply, Convolve, Moments, Pad
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.walk import RowStep, Task, row_ranges, rows_read, walk

SINGLE = 4
"""Bytes of a number in fp32."""
WORKSPACE = 1.25
"""Memory of a whole run for each byte of its maps: with the buffers of convolutions, and fragmentation."""
SLABS_FOLLOWED = 4
"""The first of a stage take most, for all that later ones need is made with them."""


@dataclass(frozen=True)
class StageForecast:
    """What one stage takes, in bytes."""

    workspace: int
    """Slabs, buffers and prepared convolutions, at their most."""
    wholes: int
    """Values that are kept in one piece while it runs; the result is counted by who asked for it."""
    maps: int
    """Kept maps at their most, wherever they are kept."""
    band: int
    """The rows of a map that are written or read at once."""


def forecast(
    stages: Stages, courses: Sequence[StageRows], convolvers: Convolvers, ready: frozenset[int]
) -> list[StageForecast]:
    """What each stage will take.

    Args:
        stages: what will be run.
        courses: how, for each stage.
        convolvers: what will run the convolutions.
        ready: steps whose convolutions are prepared for good: they are counted elsewhere.
    """
    alive: dict[int, Step] = {}
    found = []
    for number, (stage, course) in enumerate(zip(stages.stages, courses, strict=True)):
        before = dict(alive)
        alive |= {i: stages.steps[i] for i in stage.kept}
        whole = {i for i, step in alive.items() if step.axis is None or step.whole or i in stages.read_whole}
        if stages.output in alive:
            whole.add(stages.output)
        wholes = sum(step.nbytes for i, step in alive.items() if i in whole and i != stages.output)
        at_start = sum(step.nbytes for i, step in before.items() if i not in whole)
        alive = {i: step for i, step in alive.items() if stages.last_use[i] > number}
        at_end = sum(step.nbytes for i, step in alive.items() if i not in whole)
        walked = StageWalk(stages, stage, course, convolvers, ready)
        walked.follow()
        maps = max(at_start, at_end)
        slack = min(2 * walked.band, maps)  # a band goes when all of it has been read
        found.append(StageForecast(walked.most, wholes, maps + slack, walked.band))
    return found


class StageWalk:
    """The slabs of one stage, followed without tensors: those of one part of it, for all parts are alike."""

    def __init__(
        self, stages: Stages, stage: Stage, course: StageRows, convolvers: Convolvers, ready: frozenset[int]
    ) -> None:
        self.steps = stages.steps
        self.stage = stage
        self.slab_rows = course.slab_rows
        self.convolvers = convolvers
        self.ready = ready
        self.rowed = [task for task in stage.tasks if not task.step.whole]
        self.shares = row_ranges(self.steps, self.rowed, stage.kept, course.parts)
        self.kept = set(stage.kept)
        self.read = {source for task in self.rowed for source, _ in task.reads}
        self.prepared = sum(self.prepared_bytes(task) for task in self.rowed)
        self.held: dict[int, tuple[int, int]] = {}
        self.frames = {task.index: 0 for task in self.rowed if task.pads}
        self.taken = self.most_of_one = self.band_of_one = 0

    @property
    def most(self) -> int:
        """Bytes that the stage takes at its most."""
        return self.prepared + len(self.shares) * self.most_of_one

    @property
    def band(self) -> int:
        """Bytes of the rows of a map that are written or read at once."""
        return len(self.shares) * self.band_of_one

    def prepared_bytes(self, task: Task) -> int:
        """What is prepared for this stage only."""
        operation = task.step.operation
        if not isinstance(operation, Convolve) or task.index in self.ready:
            return 0
        return self.convolvers.chosen(operation).prepared_bytes(operation)

    def follow(self) -> None:
        if not self.shares:
            return
        share = self.shares[len(self.shares) // 2]
        self.held = {task.index: (share.first[task.index],) * 2 for task in self.rowed if task.index in self.read}
        last = max((task.index for task in self.rowed), default=0)
        slabs = 0
        for move in walk(self.steps, self.rowed, self.stage.kept, self.slab_rows, share):
            self.moved(move)
            slabs += move.task.index == last
            if slabs == SLABS_FOLLOWED:
                break

    def moved(self, move: RowStep) -> None:
        """One move: what it takes while rows are made, and what is left of it."""
        task, rows = move.task, move.b - move.a
        given = sum(self.looked_at_bytes(source, move) for source, _ in task.reads)
        operation = task.step.operation
        made = rows * task.step.bytes_per_row
        extra = 0 if isinstance(operation, Apply) and operation.shares else made
        if not task.pads:
            # Rows of several bands are joined to one tensor.
            extra += sum(self.looked_at_bytes(source, move) for source, _ in task.reads if source not in self.held)
        if isinstance(operation, Convolve):
            extra += self.convolvers.chosen(operation).workspace_bytes(operation, given, made)
        elif isinstance(operation, Moments):
            extra += given * SINGLE // self.steps[task.reads[0][0]].dtype.itemsize
        elif isinstance(operation, Pad) and not task.pads:
            extra += given
        if task.index in self.frames:
            first, (start, end) = self.frames[task.index], self.held[task.index]
            self.hold(task.index, max(start, min(first, end)), end)
        if task.index in self.held:
            start, end = self.held[task.index]
            extra += (end - start) * task.step.bytes_per_row  # old rows are copied in front of new ones
            self.hold(task.index, start, move.b)
            extra -= made
        self.most_of_one = max(self.most_of_one, self.taken + max(0, extra))
        if task.index in self.kept and not task.step.reduces:
            self.band_of_one = max(self.band_of_one, made)
        for source, row in move.releases:
            # Padded rows stay where they are until the next ones come, or none.
            if source in self.held and (source not in self.frames or row >= self.held[source][1]):
                start, end = self.held[source]
                self.hold(source, min(max(start, row), end), end)
            elif source in self.held:
                self.frames[source] = row

    def hold(self, i: int, start: int, end: int) -> None:
        """Rows that are in memory from now on."""
        before, after = self.held[i]
        self.taken += (end - start - (after - before)) * self.steps[i].bytes_per_row
        self.held[i] = (start, end)

    def looked_at_bytes(self, source: int, move: RowStep) -> int:
        """Bytes of the rows that a move looks at."""
        window = next(window for each, window in move.task.reads if each == source)
        first, last = rows_read(window, move.a, move.b, self.steps[source].rows)
        return max(0, last - first) * self.steps[source].bytes_per_row


def whole_peak(stages: Stages) -> int:
    """Peak memory in bytes of one item where a network runs whole, with its input and result.

    Follows the steps in order, as an uncompiled network runs them, and takes the maximum over the steps of the result
    with all values that this or a later step reads. Padding and views take nothing. A compiled network has fewer maps,
    so for it this is an upper bound.
    """
    lies_in = list(range(len(stages.steps)))
    for i, step in enumerate(stages.steps):
        if isinstance(step.operation, Pad) or (isinstance(step.operation, Apply) and step.operation.shares):
            lies_in[i] = lies_in[step.inputs[0].step]
    last_use = list(range(len(stages.steps)))
    for i, step in enumerate(stages.steps):
        for source in (lies_in[i], *(lies_in[each.step] for each in step.inputs)):
            last_use[source] = i
    last_use[lies_in[stages.output]] = len(stages.steps)
    ending: Counter[int] = Counter()
    most = taken = 0
    for i, step in enumerate(stages.steps):
        if lies_in[i] == i:
            taken += step.nbytes
            ending[last_use[i]] += step.nbytes
        most = max(most, taken)
        taken -= ending[i]
    return int(WORKSPACE * most)
