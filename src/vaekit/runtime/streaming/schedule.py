"""Group steps into stages that run slab by slab, and determine the maps to keep between stages.

A step that needs all rows (the statistics of a norm, the keys of an attention) ends a stage: its users run in the next
one. Within a stage, a slab of rows passes through all steps before the next slab. A value that a later stage needs is
stored, or recomputed if that is cheap: a norm and a SiLU always are, so they run on the slab that a convolution reads,
and their maps are not stored.

Networks of images also begin a stage where the resolution changes. Those of items with one axis do not: their items are
long, and their maps of high resolution, which a stage would store, are much larger than the items.
"""

from dataclasses import dataclass

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.walk import Task, tasks_for


@dataclass(frozen=True)
class Stage:
    """Steps that run together, in order."""

    tasks: tuple[Task, ...]
    kept: tuple[int, ...]
    """Steps of this stage whose values later stages need."""


@dataclass(frozen=True)
class Stages:
    """The stages of a network."""

    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    output: int
    last_use: dict[int, int]
    """For each stored value, the last stage that reads it."""
    read_whole: frozenset[int]
    """Maps that a step needs as a whole."""


def staged(steps: tuple[Step, ...], output: int, one_resolution: bool = True) -> Stages:
    """Assign steps to stages.

    Args:
        steps: of the network, in order.
        output: the step that returns the result.
        one_resolution: whether a stage ends where the resolution changes.
    """
    return Staging(steps, output, one_resolution).result()


class Staging:
    """The implementation of `staged`."""

    def __init__(self, steps: tuple[Step, ...], output: int, one_resolution: bool = True) -> None:
        self.steps = steps
        self.output = output
        self.earliest = earliest_stages(steps, one_resolution)
        self.stage_of = dict(enumerate(self.earliest))
        self.may_be_cheap = [
            step.operation is not None and step.operation.cheap and not step.whole and not step.reduces and i != output
            for i, step in enumerate(steps)
        ]
        self.computed = used(steps, output)
        # Values that a step needs as a whole are stored, even if they are cheap.
        self.stored_though_cheap = {each.step for step in steps for each in step.inputs if each.window is None}
        self.users: dict[int, list[int]] = {i: [] for i in range(len(steps))}
        for i, step in enumerate(steps):
            for each in step.inputs:
                self.users[each.step].append(i)

    def result(self) -> Stages:
        for i in reversed(range(1, len(self.steps))):
            self._postpone(i)
        while (stages := self._build()) is None:
            pass
        return stages

    def cheap(self, i: int) -> bool:
        """Whether a value is recomputed in each stage that needs it."""
        return self.may_be_cheap[i] and i not in self.stored_though_cheap

    def roots(self, i: int) -> set[int]:
        """The values that are not cheap from which a step's rows are computed."""
        roots, visited, todo = set[int](), {i}, [i]
        while todo:
            for each in self.steps[todo.pop()].inputs:
                if each.window is not None and each.step not in visited:
                    visited.add(each.step)
                    (todo.append if self.cheap(each.step) else roots.add)(each.step)
        return roots - {0}  # the input is always available

    def needed_in(self, i: int, besides: int | None = None) -> set[int]:
        """The stages that read rows of a value, directly or through cheap steps."""
        stages, visited, todo = set[int](), {i, besides}, [i]
        while todo:
            for user in self.users[todo.pop()]:
                if user not in visited:
                    visited.add(user)
                    if self.cheap(user):
                        todo.append(user)
                    else:
                        stages.add(self.stage_of[user])
        return stages

    def _postpone(self, i: int) -> None:
        """Move a step to a later stage if less has to be stored then."""
        step = self.steps[i]
        needed = self.needed_in(i)
        if self.cheap(i) or step.reduces or step.whole or not needed or i == self.output:
            return
        latest, roots = min(needed), self.roots(i)
        if latest <= self.earliest[i] or i in self.stored_though_cheap:
            return
        ends = {root: max(self.needed_in(root, besides=i), default=self.stage_of[root]) for root in roots}
        if all(end >= latest for end in ends.values()):
            self.stage_of[i] = latest
        elif step.nbytes <= sum(self.steps[root].nbytes for root in roots):
            self.stage_of[i] = max(self.earliest[i], min(latest, *ends.values()))
        else:
            self.stage_of[i] = latest

    def _build(self) -> Stages | None:
        """The stages for the current assignment; None if a cheap value turned out to be better stored."""
        count = max(self.stage_of.values()) + 1
        last_use: dict[int, int] = {}
        read_whole: set[int] = set()
        contents: list[set[int]] = []
        for stage in range(count):
            todo = [
                i
                for i, assigned in self.stage_of.items()
                if assigned == stage and i in self.computed and not self.cheap(i)
            ]
            content = set(todo)
            while todo:
                i = todo.pop()
                for each in self.steps[i].inputs:
                    source = each.step
                    # The result of a step that runs whole is one tensor for readers in its own stage, too.
                    in_one = each.window is None or self.steps[source].whole
                    if in_one or (not self.cheap(source) and self.stage_of[source] < stage) or source == 0:
                        last_use[source] = stage
                        if each.window is None:
                            read_whole.add(source)
                    elif source not in content:
                        if self.cheap(source) and self._better_stored(source, stage):
                            self.stored_though_cheap.add(source)
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
        """The steps of a stage whose values are stored."""
        return tuple(sorted(i for i in content if i in last_use and not self.cheap(i) and self.stage_of[i] == stage))

    def _better_stored(self, i: int, stage: int) -> bool:
        """Whether recomputing a cheap value requires storing more than the value itself."""
        if self.earliest[i] >= stage:
            return False
        ends = {root: max(self.needed_in(root, besides=i), default=-1) for root in self.roots(i)}
        extra = sum(
            self.steps[root].nbytes for root, end in ends.items() if end < stage and self.stage_of[root] < stage
        )
        return extra > 0 and extra >= self.steps[i].nbytes


def earliest_stages(steps: tuple[Step, ...], one_resolution: bool = True) -> list[int]:
    """The first stage in which each step can run.

    With one resolution per stage, slabs fit the processor's cache: with enough rows for the smallest maps of a network,
    slabs of its largest maps would not.
    """
    stages: list[int] = []
    for step in steps:
        stage = 0
        for each in step.inputs:
            source = steps[each.step]
            cut = each.window is None and not source.whole
            if each.window is not None:
                cut = one_resolution and (each.window.enlarge > 1 or changes_resolution(source))
            stage = max(stage, stages[each.step] + (cut and each.step != 0))
        stages.append(stage)
    return stages


def used(steps: tuple[Step, ...], output: int) -> set[int]:
    """The steps that the result depends on, except for the input."""
    needed, todo = {output}, [output]
    while todo:
        sources = {each.step for each in steps[todo.pop()].inputs} - needed
        needed |= sources
        todo.extend(sources)
    return {i for i in needed if steps[i].operation is not None}


def changes_resolution(step: Step) -> bool:
    """Whether a step has fewer rows than its input."""
    return any(each.window is not None and each.window.stride > 1 for each in step.inputs)
