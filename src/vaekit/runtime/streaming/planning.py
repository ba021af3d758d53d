"""Plan a run within a memory budget: rows per slab, maps kept in memory, prepared convolutions.

Rows that fit the processor's cache are fastest. With less memory first the file takes what does not fit, for a file is
cheap beside a convolution; then slabs become smaller.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vaekit.errors import TooLittleMemory
from vaekit.runtime.backends import Convolvers
from vaekit.runtime.memory import format_bytes
from vaekit.runtime.streaming.executor import StageRows
from vaekit.runtime.streaming.forecast import StageForecast, forecast
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import Convolve, Pad
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.walk import TILE

SLAB = 2 << 20
"""Bytes of the largest slab of a stage's part where there is memory enough."""
WIDEST = 2
"""How many times as large what is read or made on the way may be."""
CHAINED = 2
"""Where more convolutions than this follow each other in a stage, slabs are half as large: all of them are to fit."""
LEAST_SLAB = 1 << 14
ALLOCATOR = 1.6
"""What slabs and buffers take of the system for each byte that is in use: allocators keep what was freed, in pieces."""
HEADROOM = 0.93
"""How much of a budget is planned with: no forecast is exact, and a budget is meant."""
BASE = 32 << 20
"""What a run takes besides: code that is compiled and loaded when it is first used, stacks, small things."""
LEAST_PRODUCTS = 5 * 10**9
"""Products of convolutions from which on a CPU's slabs pay for the calls that they need."""
FREED_AT_ONCE = 48 << 20
"""When so much less is needed from a stage on, what the allocator keeps is given back to the system."""


@dataclass(frozen=True)
class RunPlan:
    """How a network will be run, and what that is expected to take."""

    courses: tuple[StageRows, ...]
    ready: frozenset[int]
    """Steps whose convolutions stay prepared between runs."""
    peak: int
    """Bytes at the most, above the loaded weights."""
    to_file: int
    """Bytes that will be in the file at the most; 0 where all fits into memory."""
    prepared: int
    """Bytes of the convolutions that stay prepared."""
    stages: tuple[StageForecast, ...]


def plan_run(stages: Stages, convolvers: Convolvers, budget: int | None, fixed: int, parts: int) -> RunPlan:
    """The fastest way to run a network that fits.

    Args:
        stages: what will be run.
        convolvers: what will run the convolutions.
        budget: bytes that it may take; None for as many as it likes.
        fixed: bytes that its caller takes all the while: input and result.
        parts: how many parts of a stage may be worked on side by side.

    Raises:
        TooLittleMemory: no way fits. The message says the smallest budget that would do.
    """
    planned = None if budget is None else int(HEADROOM * budget)
    enough = 0
    for slab, side_by_side in ways(parts):
        courses = [StageRows(slab_rows(stages.steps, stage, slab), side_by_side) for stage in stages.stages]
        plan = with_courses(stages, courses, convolvers, planned, fixed)
        if isinstance(plan, RunPlan):
            return plan
        enough = int(plan / HEADROOM) + (1 << 20)  # what rounding to words takes off
    least = format_bytes(enough)
    raise TooLittleMemory(
        f"This image cannot be processed in {format_bytes(budget or 0)}.",
        f"It needs at least {least}, in addition to the VAE itself.",
        f"Allow {least} or more (--memory), or reduce the size of the image.",
        enough,
    )


def ways(parts: int) -> Iterator[tuple[int, int]]:
    """Sizes of slabs and numbers of parts, from the fastest to what takes least memory."""
    slab = SLAB
    while slab >= LEAST_SLAB:
        yield slab, parts
        slab //= 2
    if parts > 1:
        yield slab, 1


def with_courses(
    stages: Stages, courses: Sequence[StageRows], convolvers: Convolvers, budget: int | None, fixed: int
) -> RunPlan | int:
    """A plan with slabs and parts of this kind; where none fits, the bytes that would do."""
    alone = forecast(stages, courses, convolvers, frozenset())
    taken = zip(alone, heaps(alone), strict=True)
    least = max(fixed + BASE + each.wholes + heap + 2 * each.band for each, heap in taken)
    if budget is not None and least > budget:
        return least
    ready: frozenset[int] = frozenset()
    prepared, found = 0, alone
    sizes = prepared_sizes(stages, convolvers)
    kept = forecast(stages, courses, convolvers, frozenset(sizes))
    if budget is None or peak_of(kept, fixed, None) + sum(sizes.values()) <= budget:
        ready, prepared, found = frozenset(sizes), sum(sizes.values()), kept
    planned, to_file = [], 0
    most_maps = max(each.maps for each in found)
    for number, (each, heap) in enumerate(zip(found, heaps(found), strict=True)):
        room = None if budget is None else budget - fixed - BASE - prepared - each.wholes - heap
        if room is not None:
            to_file = max(to_file, each.maps - room)
        limit = None if room is None or each.maps <= room else max(0, room - 2 * each.band)
        buffers = most_maps if room is None else min(most_maps, max(0, room))
        back = gives_back(found, number)
        planned.append(replace(courses[number], maps_in_memory=limit, buffers=buffers, give_back=back))
    peak = peak_of(found, fixed, None if budget is None else budget - prepared) + prepared
    return RunPlan(tuple(planned), ready, peak, to_file, prepared, tuple(found))


def slab_rows(steps: Sequence[Step], stage: Stage, slab: int) -> int:
    """How many rows of a stage's largest result there are in a slab of so many bytes.

    Bands of maps are of one size that way at every resolution, so that the buffers of one map serve for the next.
    """
    tasks = [task for task in stage.tasks if task.rows]
    targets = [task for task in tasks if task.index in stage.kept or task.step.reduces]
    if not targets:
        return 1
    total = max(task.rows for task in targets)
    kept = max((task.step.nbytes for task in targets if not task.step.reduces), default=0)
    touched = {task.index for task in tasks} | {source for task in tasks for source, _ in task.reads}
    largest = max(steps[i].nbytes for i in touched if not isinstance(steps[i].operation, Pad))
    convolutions = sum(isinstance(task.step.operation, Convolve) for task in tasks)
    wanted = slab if convolutions <= CHAINED else slab // 2
    rows = max(1, int(wanted * total / max(kept, largest / WIDEST, 1)))
    return (rows + TILE // 2) // TILE * TILE if rows >= TILE // 2 else rows


def prepared_sizes(stages: Stages, convolvers: Convolvers) -> dict[int, int]:
    """For each step with a convolution that has to be prepared, what that takes."""
    sizes = {}
    for stage in stages.stages:
        for task in stage.tasks:
            operation = task.step.operation
            if isinstance(operation, Convolve):
                size = convolvers.chosen(operation).prepared_bytes(operation)
                if size:
                    sizes[task.index] = size
    return sizes


def products(stages: Stages) -> int:
    """How many products of two numbers the convolutions of a network take."""
    convolutions = ((step, step.operation) for step in stages.steps)
    return sum(
        math.prod(step.shape) * operation.weight[0].numel()
        for step, operation in convolutions
        if isinstance(operation, Convolve)
    )


def heaps(found: Sequence[StageForecast]) -> list[int]:
    """What slabs and buffers have taken of the system by each stage, given back or not."""
    taken, result = 0.0, []
    for number, each in enumerate(found):
        taken = max(taken, ALLOCATOR * each.workspace)
        result.append(int(taken))
        if gives_back(found, number):
            taken = 0.0
    return result


def gives_back(found: Sequence[StageForecast], number: int) -> bool:
    """Whether enough less is needed after a stage to give memory back there."""
    later = max((each.workspace for each in found[number + 1 :]), default=0)
    return found[number].workspace - later > FREED_AT_ONCE


def peak_of(found: Sequence[StageForecast], fixed: int, budget: int | None) -> int:
    """The most that all stages take, maps in memory as far as the budget allows."""
    most = max(fixed + BASE + each.wholes + heap + each.maps for each, heap in zip(found, heaps(found), strict=True))
    return most if budget is None else min(most, budget)
