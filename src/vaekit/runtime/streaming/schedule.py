"""Group steps into stages that run slab by slab, and determine the maps to keep between stages.

What takes all rows (the statistics of a norm, the keys of an attention) ends a stage: only then can its users begin.
Within a stage a slab of rows goes through all steps before the next one comes. A value that a later stage needs is
kept, or made once more where that is cheap: a norm and a SiLU always are, so that they are put onto the slab that a
convolution reads and no map is kept for them.
"""

from dataclasses import dataclass

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.walk import Task, tasks_for


@dataclass(frozen=True)
class Stage:
    """Steps that run together, in order."""

    tasks: tuple[Task, ...]
    kept: tuple[int, ...]
    """Steps among these whose values later stages need."""


@dataclass(frozen=True)
class Stages:
    """All that a network does, in stages."""

    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    output: int
    last_use: dict[int, int]
    """For each value that is kept, the last stage that reads it."""
    read_whole: frozenset[int]
    """Maps that some step needs whole."""


def staged(steps: tuple[Step, ...], output: int) -> Stages:
    """Put steps into stages."""
    return Staging(steps, output).result()


class Staging:
    """The work of `staged`."""

    def __init__(self, steps: tuple[Step, ...], output: int) -> None:
        self.steps = steps
        self.output = output
        self.earliest = earliest_stages(steps)
        self.place = dict(enumerate(self.earliest))
        self.could_be_cheap = [
            step.operation is not None and step.operation.cheap and not step.whole and not step.reduces and i != output
            for i, step in enumerate(steps)
        ]
        self.worked = {i for i, step in enumerate(steps) if step.operation is not None}
        # What some step needs whole is kept, however cheap.
        self.kept_though_cheap = {each.step for step in steps for each in step.inputs if each.window is None}
        self.users: dict[int, list[int]] = {i: [] for i in range(len(steps))}
        for i, step in enumerate(steps):
            for each in step.inputs:
                self.users[each.step].append(i)

    def result(self) -> Stages:
        for i in reversed(range(1, len(self.steps))):
            self._settle(i)
        while (stages := self._emitted()) is None:
            pass
        return stages

    def cheap(self, i: int) -> bool:
        """Whether a value is made anew in each stage that needs it."""
        return self.could_be_cheap[i] and i not in self.kept_though_cheap

    def roots(self, i: int) -> set[int]:
        """The values that are not cheap, of which a step's rows are made."""
        found, seen, todo = set[int](), {i}, [i]
        while todo:
            for each in self.steps[todo.pop()].inputs:
                if each.window is not None and each.step not in seen:
                    seen.add(each.step)
                    (todo.append if self.cheap(each.step) else found.add)(each.step)
        return found - {0}  # the input is there all the time

    def needed_in(self, i: int, besides: int | None = None) -> set[int]:
        """The stages that read rows of a value, directly or through cheap steps."""
        found, seen, todo = set[int](), {i, besides}, [i]
        while todo:
            for user in self.users[todo.pop()]:
                if user not in seen:
                    seen.add(user)
                    if self.cheap(user):
                        todo.append(user)
                    else:
                        found.add(self.place[user])
        return found

    def _settle(self, i: int) -> None:
        """Move a step to a later stage where less has to be kept for it then."""
        step = self.steps[i]
        needed = self.needed_in(i)
        if self.cheap(i) or step.reduces or step.whole or not needed or i == self.output:
            return
        latest, roots = min(needed), self.roots(i)
        if latest <= self.earliest[i] or i in self.kept_though_cheap:
            return
        ends = {root: max(self.needed_in(root, besides=i), default=self.place[root]) for root in roots}
        if all(end >= latest for end in ends.values()):
            self.place[i] = latest
        elif step.nbytes <= sum(self.steps[root].nbytes for root in roots):
            self.place[i] = max(self.earliest[i], min(latest, *ends.values()))
        else:
            self.place[i] = latest

    def _emitted(self) -> Stages | None:
        """The stages as things are placed now; None where a cheap value turned out to be better kept."""
        count = max(self.place.values()) + 1
        last_use: dict[int, int] = {}
        read_whole: set[int] = set()
        contents: list[set[int]] = []
        for stage in range(count):
            todo = [i for i, place in self.place.items() if place == stage and i in self.worked and not self.cheap(i)]
            content = set(todo)
            while todo:
                i = todo.pop()
                for each in self.steps[i].inputs:
                    source = each.step
                    # What is run whole lies in one tensor for the readers of its own stage, too.
                    in_one = each.window is None or self.steps[source].whole
                    if in_one or (not self.cheap(source) and self.place[source] < stage) or source == 0:
                        last_use[source] = stage
                        if each.window is None:
                            read_whole.add(source)
                    elif source not in content:
                        if self.cheap(source) and self._better_kept(source, stage):
                            self.kept_though_cheap.add(source)
                            return None
                        content.add(source)
                        todo.append(source)
            contents.append(content)
        last_use[self.output] = count
        kept = [self._kept(stage, content, last_use) for stage, content in enumerate(contents)]
        stages = tuple(
            Stage(tasks_for(self.steps, sorted(content), values), values)
            for content, values in zip(contents, kept, strict=True)
        )
        return Stages(self.steps, stages, self.output, last_use, frozenset(read_whole))

    def _kept(self, stage: int, content: set[int], last_use: dict[int, int]) -> tuple[int, ...]:
        """The steps of a stage whose values are kept."""
        return tuple(sorted(i for i in content if i in last_use and not self.cheap(i) and self.place[i] == stage))

    def _better_kept(self, i: int, stage: int) -> bool:
        """Whether making a cheap value anew takes keeping more than the value itself."""
        if self.earliest[i] >= stage:
            return False
        ends = {root: max(self.needed_in(root, besides=i), default=-1) for root in self.roots(i)}
        extra = sum(self.steps[root].nbytes for root, end in ends.items() if end < stage and self.place[root] < stage)
        return extra > 0 and extra >= self.steps[i].nbytes


def earliest_stages(steps: tuple[Step, ...]) -> list[int]:
    """The first stage in which each step can run.

    A stage has one resolution: with rows enough for the smallest maps of a whole network, slabs of its largest would
    not fit into the processor's cache.
    """
    found: list[int] = []
    for step in steps:
        stage = 0
        for each in step.inputs:
            source = steps[each.step]
            cut = each.window is None and not source.whole
            if each.window is not None:
                cut = each.window.enlarge > 1 or changes_resolution(source)
            stage = max(stage, found[each.step] + (cut and each.step != 0))
        found.append(stage)
    return found


def changes_resolution(step: Step) -> bool:
    """Whether a step makes fewer rows than it reads."""
    return any(each.window is not None and each.window.stride > 1 for each in step.inputs)
