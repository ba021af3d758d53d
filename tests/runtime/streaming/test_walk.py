"""Tasks, row ranges and moves of a stage, recounted row by row."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
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
    Total,
    Window,
)
from vaekit.runtime.streaming.schedule import Stages
from vaekit.runtime.streaming.walk import (
    RowRange,
    RowStep,
    Task,
    advance,
    first_needed,
    first_rows,
    granule,
    row_ranges,
    rows_read,
    tasks_for,
    walk,
)

ROWS = 12
HALF = each_network()


def value(operation: Operation | None, *inputs: tuple[int, Window | None], rows: int = ROWS, channels: int = 4) -> Step:
    """A step whose value is a map (1, channels, rows, 6)."""
    windows = tuple(Input(step, window) for step, window in inputs)
    if isinstance(operation, Moments | Total):
        return Step(operation, windows, (3, 2), torch.float64, None, 0)
    return Step(operation, windows, (1, channels, rows, 6), torch.float32, 2, rows)


def conv(kernel: int = 3, channels: int = 4) -> Convolve:
    return Convolve(torch.zeros(channels, channels, kernel, kernel), None, (1, 1), (1, 1), 1)


def pad(mode: str = "constant") -> Pad:
    return Pad((1, 1, 1, 1), mode, 0.0, ROWS)


SILU, DOUBLE = Apply(F.silu, (Slot(0),)), Apply(Tensor.mul, (Slot(0), 2.0))
SUM = Apply(Tensor.add, (Slot(0), Slot(1)))
NORMALIZE = Normalize(None, None, 1e-5)
PADDED, CONVOLVED = Window(before=1), Window(kernel=3)


def task(tasks: Sequence[Task], index: int) -> Task:
    return next(each for each in tasks if each.index == index)


# Tasks

NORMED = [
    value(None),
    value(Moments(2), (0, SAME_ROW)),
    value(NORMALIZE, (0, SAME_ROW), (1, None)),
    value(SILU, (2, SAME_ROW)),
    value(pad(), (3, PADDED), rows=ROWS + 2),
    value(conv(), (4, CONVOLVED)),
]
"""A norm, an activation and a padded convolution."""


def test_padding_for_a_convolution_does_the_norm_and_the_activation_in_front_of_it() -> None:
    tasks = tasks_for(NORMED, (2, 3, 4, 5), (5,))
    assert [each.index for each in tasks] == [4, 5]
    padding, convolution = tasks
    assert padding.pads and padding.ahead == (NORMED[2], NORMED[3])
    assert padding.reads == ((0, PADDED),) and padding.wholes == (None,)
    assert convolution.reads == ((4, CONVOLVED),) and not convolution.pads and convolution.ahead == ()
    assert (padding.rows, convolution.rows) == (ROWS + 2, ROWS)


def test_reductions_go_through_the_rows_of_their_input() -> None:
    (only,) = tasks_for(NORMED, (1,), (1,))
    assert (only.rows, only.reads, only.last_user_of) == (ROWS, ((0, SAME_ROW),), (0,))


def test_a_norm_on_its_own_reads_its_moments_whole() -> None:
    (only,) = tasks_for(NORMED, (2,), (2,))
    assert (only.reads, only.wholes, only.pads) == (((0, SAME_ROW),), (None, 1), False)


@pytest.mark.parametrize(
    ("steps", "kept", "pads"),
    [
        ([value(None), value(pad(), (0, PADDED), rows=14), value(conv(), (1, CONVOLVED))], (2,), True),
        ([value(None), value(pad("reflect"), (0, PADDED), rows=14), value(conv(), (1, CONVOLVED))], (2,), False),
        ([value(None), value(pad(), (0, PADDED), rows=14), value(DOUBLE, (1, SAME_ROW), rows=14)], (2,), False),
        ([value(None), value(pad(), (0, PADDED), rows=14), value(conv(), (1, CONVOLVED))], (1, 2), False),
        ([value(None), value(pad(), (0, PADDED), rows=14)], (1,), False),
    ],
    ids=["for a convolution", "mirrored", "for something else", "kept", "for nobody"],
)
def test_only_constant_padding_for_convolutions_stays_in_a_frame(
    steps: list[Step], kept: tuple[int, ...], pads: bool
) -> None:
    assert task(tasks_for(steps, range(1, len(steps)), kept), 1).pads is pads


def test_what_others_read_too_is_not_done_ahead() -> None:
    steps = [*NORMED, value(DOUBLE, (3, SAME_ROW))]
    tasks = tasks_for(steps, (2, 3, 4, 5, 6), (5, 6))
    assert [each.index for each in tasks] == [2, 3, 4, 5, 6]
    assert task(tasks, 4).ahead == () and task(tasks, 4).reads == ((3, PADDED),)
    kept = tasks_for(NORMED, (2, 3, 4, 5), (3, 5))
    assert [each.index for each in kept] == [2, 3, 4, 5]
    # An activation that has no form in place ends the chain.
    doubled = [*NORMED[:3], value(DOUBLE, (2, SAME_ROW)), *NORMED[4:]]
    assert [each.index for each in tasks_for(doubled, (2, 3, 4, 5), (5,))] == [2, 3, 4, 5]


def test_a_value_is_let_go_by_its_last_reader() -> None:
    twice = [value(SILU, (0, SAME_ROW)), value(DOUBLE, (0, SAME_ROW))]
    steps = [value(None), *twice, value(SUM, (1, SAME_ROW), (2, SAME_ROW))]
    tasks = tasks_for(steps, (1, 2, 3), (3,))
    assert [each.last_user_of for each in tasks] == [(), (0,), (1, 2)]


@pytest.mark.parametrize(
    ("source", "second", "kept", "over"),
    [
        (conv(1), SILU, (2,), 0),
        (SILU, SILU, (2,), 0),
        (conv(1), DOUBLE, (2,), None),
        (DOUBLE, SILU, (2,), None),
        (conv(1), SILU, (1, 2), None),
    ],
    ids=["of a convolution", "of an activation", "no form in place", "memory of somebody else", "kept"],
)
def test_a_result_is_written_over_memory_that_nobody_else_reads(
    source: Operation, second: Apply, kept: tuple[int, ...], over: int | None
) -> None:
    steps = [value(None), value(source, (0, SAME_ROW)), value(second, (1, SAME_ROW))]
    assert task(tasks_for(steps, (1, 2), kept), 2).overwrites == over


def test_a_sum_is_written_over_the_input_that_is_free() -> None:
    steps = [value(None), value(conv(1), (0, SAME_ROW)), value(SUM, (0, SAME_ROW), (1, SAME_ROW))]
    assert task(tasks_for(steps, (1, 2), (2,)), 2).overwrites == 1
    assert task(tasks_for(steps, (2,), (2,)), 2).overwrites is None  # of an earlier stage
    twice = [*steps, value(SILU, (1, SAME_ROW))]
    assert task(tasks_for(twice, (1, 2, 3), (2, 3)), 2).overwrites is None
    broadcast = [value(None), value(conv(1), (0, SAME_ROW), channels=1), value(SUM, (0, SAME_ROW), (1, SAME_ROW))]
    assert task(tasks_for(broadcast, (1, 2), (2,)), 2).overwrites is None


# Windows, granules and ranges


def test_rows_read_are_cut_off_at_the_ends() -> None:
    window = Window(kernel=3, before=1)
    assert rows_read(window, 0, 4, 9) == (0, 5)
    assert rows_read(window, 3, 5, 9) == (2, 6)
    assert rows_read(window, 8, 9, 9) == (7, 9)
    first, end = rows_read(Window(before=4), 0, 3, 9)  # only rows that padding makes up
    assert first >= end
    first, end = rows_read(Window(before=1), 10, 11, 9)
    assert first >= end


def enlarged() -> list[Step]:
    """A map of 6 rows, doubled, padded and convolved."""
    return [
        value(None, rows=6),
        value(Apply(F.interpolate, (Slot(0), None, 2.0)), (0, Window(enlarge=2))),
        value(pad(), (1, PADDED), rows=14),
        value(conv(), (2, CONVOLVED)),
    ]


def test_enlarged_rows_go_together() -> None:
    tasks = tasks_for(enlarged(), (1, 2, 3), (3,))
    assert [granule(each) for each in tasks] == [2, 1, 1]
    first = first_rows(tasks, {3: (6, 9)})
    assert first == {3: 6, 2: 6, 1: 4}  # row 5 of the doubled map is needed, and made with row 4
    done = dict.fromkeys((1, 2, 3), 0)
    advance(enlarged(), tasks, {1: 0, 2: 0, 3: 6}, done)
    assert done == {3: 6, 2: 8, 1: 8}  # seven rows of the doubled map are needed
    advance(enlarged(), tasks, {1: 0, 2: 0, 3: 12}, done)
    assert done == {3: 12, 2: 14, 1: 12}
    advance(enlarged(), tasks, {1: 0, 2: 0, 3: 2}, done)  # nothing goes back
    assert done == {3: 12, 2: 14, 1: 12}


def test_the_reader_that_needs_most_counts() -> None:
    wide = Window(kernel=3, before=1)
    for windows in ((SAME_ROW, wide), (wide, SAME_ROW)):
        steps = [value(None), value(SILU, (0, SAME_ROW)), *(value(DOUBLE, (1, window)) for window in windows)]
        tasks, done = tasks_for(steps, (1, 2, 3), (2, 3)), dict.fromkeys((1, 2, 3), 0)
        advance(steps, tasks, {1: 0, 2: 4, 3: 4}, done)
        assert done == {1: 5, 2: 4, 3: 4}
        assert first_rows(tasks, {2: (4, 8), 3: (4, 8)}) == {1: 3, 2: 4, 3: 4}


def test_a_task_that_reads_nothing_yet_begins_at_its_end() -> None:
    tasks = tasks_for(NORMED, (2, 3, 4, 5), (5,))
    assert first_rows(tasks, {5: (8, 12)}) == {5: 8, 4: 8}
    assert first_rows(tasks, {}) == {5: ROWS, 4: ROWS}


@pytest.mark.parametrize(("parts", "expected"), [(1, [0, 12]), (2, [0, 4, 12]), (3, [0, 4, 8, 12]), (9, [0, 4, 8, 12])])
def test_parts_are_cut_at_multiples_of_four_rows(parts: int, expected: list[int]) -> None:
    steps = NORMED
    returns_view = row_ranges(steps, tasks_for(steps, (2, 3, 4, 5), (5,)), (5,), parts)
    assert [share.own[5][0] for share in returns_view] + [returns_view[-1].own[5][1]] == expected
    assert all(a.own[5][1] == b.own[5][0] for a, b in pairwise(returns_view))


def test_a_part_reads_the_rows_around_its_own() -> None:
    returns_view = row_ranges(NORMED, tasks_for(NORMED, (2, 3, 4, 5), (5,)), (5,), 3)
    assert [share.reads for share in returns_view] == [{0: (0, 5)}, {0: (3, 9)}, {0: (7, 12)}]
    assert [(share.first[4], share.last[4]) for share in returns_view] == [(0, 6), (4, 10), (8, 14)]


def test_no_rows_make_no_parts() -> None:
    assert row_ranges(NORMED, [], (), 3) == []


def test_the_first_row_needed_is_that_of_the_reader_that_lags_most() -> None:
    steps = [
        value(None),
        value(SILU, (0, SAME_ROW)),
        value(pad(), (1, PADDED), rows=14),
        value(conv(), (2, CONVOLVED)),
        value(SUM, (3, SAME_ROW), (1, SAME_ROW)),
    ]
    tasks = tasks_for(steps, (1, 2, 3, 4), (4,))
    (share,) = row_ranges(steps, tasks, (4,), 1)
    readers = [(task(tasks, 2), PADDED), (task(tasks, 4), SAME_ROW)]
    assert first_needed(readers, {2: 6, 4: 4}, share, ROWS) == 4
    assert first_needed(readers, {2: 6, 4: 9}, share, ROWS) == 5
    assert first_needed(readers, {2: 6, 4: 12}, share, ROWS) == 5  # the sum is done
    assert first_needed(readers, {2: 14, 4: 12}, share, ROWS) == ROWS
    assert first_needed(readers, {2: 0, 4: 0}, share, ROWS) == 0


# Moves

CASES = [(name, slab, parts) for name in NAMES for slab in (1, 3, 4, 1000) for parts in (1, 3)]


def walked(name: str) -> Stages:
    return stages_of(HALF(name), 5, 1)


@pytest.mark.parametrize(("name", "slab", "parts"), CASES)
def test_moves_make_each_row_once_from_rows_that_are_there(name: str, slab: int, parts: int) -> None:
    stages = walked(name)
    for stage in stages.stages:
        rowed = [each for each in stage.tasks if not each.step.whole]
        inside = {each.index for each in rowed}
        returns_view = row_ranges(stages.steps, rowed, stage.kept, parts)
        for share in returns_view:
            made = {each.index: share.first[each.index] for each in rowed}
            gone: dict[int, int] = {}
            for move in walk(stages.steps, rowed, stage.kept, slab, share):
                assert move.a == made[move.task.index] < move.b
                made[move.task.index] = move.b
                for source, window in move.task.reads:
                    first, end = rows_read(window, move.a, move.b, stages.steps[source].rows)
                    if first < end:
                        assert first >= gone.get(source, 0)
                        if source in inside:
                            assert share.first[source] <= first and end <= made[source]
                        else:
                            assert share.reads[source][0] <= first and end <= share.reads[source][1]
                gone |= dict(move.releases)
            assert made == {i: max(share.last[i], share.first[i]) for i in inside}
        for each in rowed:
            if each.index in stage.kept or each.step.reduces:
                covered = [row for share in returns_view for row in range(*share.own[each.index])]
                assert covered == list(range(each.rows))


@pytest.mark.parametrize(("name", "slab", "parts"), CASES)
def test_rows_are_let_go_after_their_last_read_and_not_later(name: str, slab: int, parts: int) -> None:
    stages = walked(name)
    for stage in stages.stages:
        rowed = [each for each in stage.tasks if not each.step.whole]
        for share in row_ranges(stages.steps, rowed, stage.kept, parts):
            moves = list(walk(stages.steps, rowed, stage.kept, slab, share))
            for number, move in enumerate(moves):
                for source, row in move.releases:
                    assert row == first_read(stages, moves[number + 1 :], source)


def first_read(stages: Stages, moves: Sequence[RowStep], source: int) -> int:
    """The first row of a value that one of these moves reads; its number of rows where none does."""
    rows = stages.steps[source].rows
    ranges = [
        rows_read(window, move.a, move.b, rows) for move in moves for each, window in move.task.reads if each == source
    ]
    return min((first for first, end in ranges if first < end), default=rows)


@pytest.mark.parametrize("slab", [1, 3, 4, 7])
def test_a_slab_has_slab_rows_of_the_largest_result(slab: int) -> None:
    tasks = tasks_for(NORMED, (2, 3, 4, 5), (5,))
    (share,) = row_ranges(NORMED, tasks, (5,), 1)
    moves = [(move.task.index, move.a, move.b) for move in walk(NORMED, tasks, (5,), slab, share)]
    ends = [*range(slab, ROWS, slab), ROWS]
    begins = [0, *ends[:-1]]
    assert [move for move in moves if move[0] == 5] == [(5, a, b) for a, b in zip(begins, ends, strict=True)]
    assert moves[0] == (4, 0, min(slab, ROWS) + 2)


def test_smaller_results_come_along_in_proportion() -> None:
    steps = [
        value(None),
        value(SILU, (0, SAME_ROW)),
        value(conv(2), (1, Window(kernel=2, stride=2)), rows=6),
    ]
    tasks = tasks_for(steps, (1, 2), (1, 2))
    (share,) = row_ranges(steps, tasks, (1, 2), 1)
    moves = [(move.task.index, move.a, move.b) for move in walk(steps, tasks, (1, 2), 4, share)]
    assert moves == [(1, 0, 4), (2, 0, 2), (1, 4, 8), (2, 2, 4), (1, 8, 12), (2, 4, 6)]


def test_a_part_walks_through_its_own_rows_only() -> None:
    tasks = tasks_for(NORMED, (2, 3, 4, 5), (5,))
    share = RowRange({5: (4, 8)}, {4: 4, 5: 4}, {4: 10, 5: 8}, {0: (3, 9)})
    moves = [(move.task.index, move.a, move.b) for move in walk(NORMED, tasks, (5,), 2, share)]
    assert moves == [(4, 4, 8), (5, 4, 6), (4, 8, 10), (5, 6, 8)]
