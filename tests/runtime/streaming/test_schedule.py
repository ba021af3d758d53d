"""Stages of small networks: their order, what is kept between them and for how long, recounted from the steps."""

from collections.abc import Callable

import pytest
import torch
from row_interpreter import lowered
from small_networks import NAMES, each_network, stages_of
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.operations import (
    SAME_ROW,
    Apply,
    Convolve,
    Moments,
    Normalize,
    Operation,
    Pad,
    Slot,
    Window,
)
from vaekit.runtime.streaming.schedule import Stages, Staging, changes_resolution, earliest_stages, staged, used

HALF = each_network()
GENERATOR = torch.Generator().manual_seed(0)
SILU, FLIP = Apply(F.silu, (Slot(0),)), Apply(torch.flip, (Slot(0), (2,)), cheap=False)
SUM = Apply(Tensor.add, (Slot(0), Slot(1)))
NORMALIZE = Normalize(None, None, 1e-5)
COSTLY = Convolve(torch.zeros(64, 64, 1, 1), None, (1, 1), (1, 1), 1)


def value(operation: Operation | None, *inputs: tuple[int, Window | None], channels: int = 4, rows: int = 8) -> Step:
    """A step whose value is a map (1, channels, rows, 2)."""
    windows = tuple(Input(step, window) for step, window in inputs)
    if isinstance(operation, Moments):
        return Step(operation, windows, (3, 2), torch.float64, None, 0)
    return Step(operation, windows, (1, channels, rows, 2), torch.float32, 2, rows)


def test_steps_that_the_result_does_not_need_are_not_run() -> None:
    steps = (value(None), value(COSTLY, (0, SAME_ROW)), value(FLIP, (0, None)), value(COSTLY, (1, SAME_ROW)))
    assert used(steps, 3) == {1, 3}
    assert {task.index for stage in staged(steps, 3).stages for task in stage.tasks} == {1, 3}


def test_one_stage_may_have_several_resolutions() -> None:
    steps = (
        value(None),
        value(COSTLY, (0, Window(stride=2)), rows=4),
        value(COSTLY, (1, SAME_ROW), rows=4),
        value(COSTLY, (2, Window(enlarge=2)), rows=8),
    )
    assert [len(staged(steps, 3, each).stages) for each in (True, False)] == [3, 1]
    whole = (*steps, value(FLIP, (3, None)), value(COSTLY, (4, SAME_ROW)))
    assert len(staged(whole, 5, one_resolution=False).stages) == 2


# The first stage in which a step can run


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([value(None), value(SILU, (0, SAME_ROW)), value(SILU, (1, SAME_ROW))], [0, 0, 0]),
        ([value(None), value(Moments(2), (0, SAME_ROW)), value(NORMALIZE, (0, SAME_ROW), (1, None))], [0, 0, 1]),
        ([value(None), value(SILU, (0, SAME_ROW)), value(FLIP, (1, None))], [0, 0, 1]),
        ([value(None), value(FLIP, (0, None))], [0, 0]),
        ([value(None), value(FLIP, (0, None)), value(FLIP, (1, None))], [0, 0, 0]),
        ([value(None), value(SILU, (0, Window(enlarge=2)), rows=16)], [0, 0]),
        (
            [value(None), value(SILU, (0, SAME_ROW)), value(SILU, (1, Window(enlarge=2)), rows=16)],
            [0, 0, 1],
        ),
        (
            [value(None), value(COSTLY, (0, Window(stride=2)), rows=4), value(SILU, (1, SAME_ROW), rows=4)],
            [0, 0, 1],
        ),
    ],
    ids=[
        "one resolution",
        "what reads a reduction",
        "what needs all rows",
        "all rows of the input",
        "whole after whole",
        "enlarged input",
        "enlarged value",
        "after fewer rows",
    ],
)
def test_what_ends_a_stage(steps: list[Step], expected: list[int]) -> None:
    assert earliest_stages(tuple(steps)) == expected


def test_only_strides_change_the_resolution() -> None:
    assert changes_resolution(value(COSTLY, (0, Window(stride=2))))
    assert changes_resolution(value(SUM, (0, SAME_ROW), (1, Window(kernel=2, stride=2))))
    assert not changes_resolution(value(SUM, (0, Window(kernel=3)), (1, None)))
    assert not changes_resolution(value(None))


# Recounts on small networks


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_reads_what_is_made_before(name: str) -> None:
    stages = stages_of(HALF(name))
    available = {0}
    for stage in stages.stages:
        here: set[int] = set()
        for task in stage.tasks:
            for source, _ in task.reads:
                assert source in here | available
            for source in (each for each in task.wholes if each is not None):
                whole_here = source in here and stages.steps[source].whole
                assert source in available or whole_here
            assert task.index not in here
            here.add(task.index)
        assert set(stage.kept) <= here
        available |= set(stage.kept)
    assert stages.output in available


@pytest.mark.parametrize("name", NAMES)
def test_kept_values_are_those_that_later_stages_read_and_last_until_then(name: str) -> None:
    stages = stages_of(HALF(name))
    made_in = {i: number for number, stage in enumerate(stages.stages) for i in stage.kept}
    assert len(made_in) == sum(len(stage.kept) for stage in stages.stages)  # each once
    read_in: dict[int, set[int]] = {}
    whole: set[int] = set()
    for number, stage in enumerate(stages.stages):
        here = {task.index for task in stage.tasks}
        for task in stage.tasks:
            ahead = [each.step for step in task.ahead for each in step.inputs if each.window is None]
            read_whole = [each for each in task.wholes if each is not None] + ahead
            whole |= set(read_whole)
            in_one = {source for source in here if stages.steps[source].whole}
            for source in (*(source for source, _ in task.reads if source not in here - in_one), *read_whole):
                read_in.setdefault(source, set()).add(number)
    last = {source: max(numbers) for source, numbers in read_in.items()}
    assert stages.last_use == last | {stages.output: len(stages.stages)}
    assert stages.read_whole == whole
    assert set(made_in) == set(stages.last_use) - {0}
    assert all(made_in[i] <= stages.last_use[i] for i in made_in)


@pytest.mark.parametrize("name", NAMES)
def test_costly_steps_run_once_and_every_step_that_matters_runs(name: str) -> None:
    stages = stages_of(HALF(name))
    runs: dict[int, int] = {}
    for stage in stages.stages:
        for task in stage.tasks:
            absorbed = [i for i, step in enumerate(stages.steps) if any(step is each for each in task.ahead)]
            for i in (task.index, *absorbed):
                runs[i] = runs.get(i, 0) + 1
    for i, step in enumerate(stages.steps):
        if step.operation is not None and (not step.operation.cheap or step.whole or step.reduces):
            assert runs[i] == 1, i
    assert runs.keys() == needed_by(stages) - {0}


def needed_by(stages: Stages) -> set[int]:
    """All steps that the result is made of."""
    found, todo = {stages.output}, [stages.output]
    while todo:
        for each in stages.steps[todo.pop()].inputs:
            if each.step not in found:
                found.add(each.step)
                todo.append(each.step)
    return found


def test_norms_and_activations_are_made_again_and_not_kept() -> None:
    stages = stages_of(HALF("residual"))
    kept = {i for stage in stages.stages for i in stage.kept}
    assert not any(isinstance(stages.steps[i].operation, Normalize | Pad) for i in kept)
    # Each norm ends a stage.
    norms = sum(isinstance(step.operation, Moments) for step in stages.steps)
    assert len(stages.stages) == norms + 1


# What is kept, as a choice of the smaller amount

WIDE = torch.randn(16, 4, 5, 5, generator=GENERATOR)
NARROW = torch.randn(4, 16, 5, 5, generator=GENERATOR)


def kept_shapes(function: Callable[[Tensor], Tensor]) -> list[list[tuple[int, ...]]]:
    """The shapes of the maps that each stage but the last keeps."""
    stages = staged(*lowered(function, 8, 4))
    return [
        [stages.steps[i].shape for i in stage.kept if stages.steps[i].axis is not None] for stage in stages.stages[:-1]
    ]


def normed(x: Tensor) -> Tensor:
    return F.group_norm(x, 1)


def test_a_wide_map_is_made_in_the_stage_that_reads_it() -> None:
    # The norm of x is known after the first stage; the wide map, needed in the second only, is not made before.
    assert kept_shapes(lambda x: torch.cat([F.conv2d(x, WIDE, padding=2), normed(x)], 1)) == [[]]


def test_a_narrow_map_is_made_early_when_that_spares_keeping_a_wide_one() -> None:
    def function(x: Tensor) -> Tensor:
        wide = F.conv2d(x, WIDE, padding=2)
        narrow = F.conv2d(wide, NARROW, padding=2)
        return narrow * normed(F.conv2d(wide, NARROW, padding=2))

    assert kept_shapes(function) == [[(1, 4, 8, 4), (1, 4, 8, 4)]]


def test_a_cheap_narrow_value_is_kept_rather_than_the_wide_one_that_it_is_made_of() -> None:
    def narrow(x: Tensor) -> Tensor:
        return normed(F.conv2d(x, WIDE, padding=2).mean(1, keepdim=True))

    assert kept_shapes(narrow) == [[(1, 1, 8, 4)]]


def test_a_cheap_value_is_made_again_where_its_source_is_kept_anyway() -> None:
    def both(x: Tensor) -> Tensor:
        wide = F.conv2d(x, WIDE, padding=2)
        return normed(wide.mean(1, keepdim=True)) * wide

    assert kept_shapes(both) == [[(1, 16, 8, 4)]]


def test_cheap_values_of_the_input_are_never_kept() -> None:
    assert kept_shapes(lambda x: normed(x * 2)) == [[]]


# Staging


def staging(steps: list[Step]) -> Staging:
    return Staging(tuple(steps), len(steps) - 1)


def graph() -> Staging:
    """Two costly steps; a cheap one of both, a cheap one of that, and a costly result."""
    return staging(
        [
            value(None),
            value(COSTLY, (0, SAME_ROW)),
            value(COSTLY, (0, SAME_ROW)),
            value(SUM, (1, SAME_ROW), (2, SAME_ROW)),
            value(SUM, (3, SAME_ROW), (0, SAME_ROW)),
            value(COSTLY, (4, SAME_ROW)),
        ]
    )


def test_roots_are_the_costly_values_behind_cheap_ones() -> None:
    work = graph()
    assert [work.cheap(i) for i in range(6)] == [False, False, False, True, True, False]
    assert (work.roots(4), work.roots(3), work.roots(5), work.roots(1)) == ({1, 2}, {1, 2}, {1, 2}, set())
    work.stored_though_cheap.add(3)
    assert (work.roots(4), work.roots(5)) == ({3}, {3})


def test_stages_that_need_a_value_are_found_through_cheap_steps() -> None:
    work = graph()
    work.stage_of[5] = 7
    assert (work.needed_in(1), work.needed_in(3), work.needed_in(5)) == ({7}, {7}, set())
    assert work.needed_in(1, besides=5) == set()


def test_what_is_needed_whole_or_is_the_result_is_not_cheap() -> None:
    work = staging([value(None), value(SILU, (0, SAME_ROW)), value(FLIP, (1, None)), value(SILU, (2, SAME_ROW))])
    assert [work.cheap(i) for i in range(4)] == [False] * 4


def test_the_output_is_kept_though_nothing_reads_it() -> None:
    stages = staged((value(None), value(SILU, (0, SAME_ROW))), 1)
    assert [stage.kept for stage in stages.stages] == [(1,)]
    assert stages.last_use == {0: 0, 1: 1}


def test_a_whole_value_that_its_own_stage_reads_is_kept_for_that_stage_alone() -> None:
    steps = (
        value(None),
        value(FLIP, (0, None)),
        value(COSTLY, (1, SAME_ROW)),
        value(Moments(2), (2, SAME_ROW)),
        value(NORMALIZE, (2, SAME_ROW), (3, None)),
    )
    stages = staged(steps, 4)
    assert [[task.index for task in stage.tasks] for stage in stages.stages] == [[1, 2, 3], [4]]
    assert [stage.kept for stage in stages.stages] == [(1, 2, 3), (4,)]
    assert stages.last_use == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2}


def test_a_network_that_returns_its_input_has_nothing_to_do() -> None:
    stages = staged((value(None),), 0)
    assert [stage.tasks for stage in stages.stages] == [()]
    assert stages.last_use == {0: 1}


def test_steps_without_use_are_left_out_if_they_are_cheap() -> None:
    steps = (value(None), value(SILU, (0, SAME_ROW)), value(COSTLY, (0, SAME_ROW)))
    stages = staged(steps, 2)
    assert [[task.index for task in stage.tasks] for stage in stages.stages] == [[2]]
