"""Plan a run within a memory budget: rows per slab, maps kept in memory, prepared convolutions.

Slabs that fit the processor's cache are fastest. With less memory, first maps that do not fit are stored in a file,
which is cheap compared with convolutions; then slabs become smaller.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vaekit.errors import TooLittleMemory
from vaekit.runtime.backends import Convolvers
from vaekit.runtime.memory import format_bytes, sufficient_text
from vaekit.runtime.streaming.executor import StageRows
from vaekit.runtime.streaming.forecast import StageForecast, forecast
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import Convolve, ConvolveTransposed, Pad
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.walk import TILE

SLAB = 2 << 20
"""The size of the largest slab of a part of a stage in bytes, if there is enough memory."""
WIDEST = 2
"""The maximum size of intermediate values, relative to the slab."""
CHAINED = 2
"""The number of convolutions in a stage above which slabs are half as large, so that all of them fit the cache."""
LEAST_SLAB = 1 << 14
ALLOCATOR = 1.6
"""Memory of the process per byte of slabs and buffers in use: allocators cache freed blocks."""
HEADROOM = 0.93
"""The fraction of a budget that is planned: forecasts are not exact, and a budget must hold."""
BASE = 32 << 20
"""Additional memory of a run in bytes: code that is loaded on first use, stacks, small objects."""
LEAST_PRODUCTS = 5 * 10**9
"""The number of multiplications in convolutions from which streaming is faster on a CPU despite its calls."""
TRIM_THRESHOLD = 48 << 20
"""The decrease of the required memory after a stage, in bytes, from which freed memory is returned to the system."""


@dataclass(frozen=True)
class RunPlan:
    """How a network will run, and the predicted memory."""

    schedules: tuple[StageRows, ...]
    ready: frozenset[int]
    """Steps whose convolutions stay prepared between runs."""
    peak: int
    """The predicted peak in bytes, without the loaded weights."""
    to_file: int
    """The peak size of the file in bytes; 0 if everything fits into memory."""
    prepared: int
    """The size of the convolutions that stay prepared, in bytes."""
    stages: tuple[StageForecast, ...]


def plan_run(
    stages: Stages, convolvers: Convolvers, budget: int | None, fixed: int, parts: int, streamed: bool = False
) -> RunPlan:
    """The fastest plan for a network that fits the budget.

    Args:
        stages: of the network.
        convolvers: for the convolutions.
        budget: the memory limit in bytes; None for no limit.
        fixed: memory of the caller in bytes: input and result.
        parts: the maximum number of parts of a stage that run in parallel.
        streamed: whether the input is read and the output written by rows, which takes one part.

    Raises:
        TooLittleMemory: no plan fits. The message states the smallest sufficient budget.
    """
    planned = None if budget is None else int(HEADROOM * budget)
    refused: list[int] = []
    for slab, parallel in slab_options(parts):
        schedules = [StageRows(slab_rows(stages.steps, stage, slab), parallel) for stage in stages.stages]
        plan = with_schedules(stages, schedules, convolvers, planned, fixed, streamed)
        if isinstance(plan, RunPlan):
            return plan
        refused.append(plan)
    raise too_little_memory(budget or 0, math.ceil(min(refused) / HEADROOM) + 2)  # for rounding


def too_little_memory(budget: int, enough: int) -> TooLittleMemory:
    """The refusal of a budget. The sufficient one is rounded up in the message, where it is accepted as written.

    Args:
        budget: in bytes.
        enough: the smallest sufficient budget in bytes.
    """
    least = sufficient_text(enough)
    return TooLittleMemory(
        f"This item cannot be processed in {format_bytes(budget)}.",
        f"It needs at least {least}, in addition to the VAE itself.",
        f"Allow {least} or more (--memory), or use a smaller item.",
        enough,
    )


def slab_options(parts: int) -> Iterator[tuple[int, int]]:
    """Sizes of slabs and numbers of parts, from the fastest to the smallest in memory."""
    slab = SLAB
    while slab >= LEAST_SLAB:
        yield slab, parts
        slab //= 2
    if parts > 1:
        yield slab, 1


def with_schedules(
    stages: Stages,
    schedules: Sequence[StageRows],
    convolvers: Convolvers,
    budget: int | None,
    fixed: int,
    streamed: bool = False,
) -> RunPlan | int:
    """A plan with these slabs and parts; if it does not fit, the sufficient budget in bytes."""
    alone = forecast(stages, schedules, convolvers, frozenset(), streamed)
    taken = zip(alone, heaps(alone), strict=True)
    least = max(fixed + BASE + each.wholes + heap + 2 * each.band for each, heap in taken)
    if budget is not None and least > budget:
        return least
    ready: frozenset[int] = frozenset()
    prepared, forecasts = 0, alone
    sizes = prepared_sizes(stages, convolvers)
    kept = forecast(stages, schedules, convolvers, frozenset(sizes), streamed)
    if budget is None or peak_of(kept, fixed, None) + sum(sizes.values()) <= budget:
        ready, prepared, forecasts = frozenset(sizes), sum(sizes.values()), kept
    planned, to_file = [], 0
    most_maps = max(each.maps for each in forecasts)
    for number, (each, heap) in enumerate(zip(forecasts, heaps(forecasts), strict=True)):
        available = None if budget is None else budget - fixed - BASE - prepared - each.wholes - heap
        if available is not None:
            to_file = max(to_file, each.maps - available)
        limit = None if available is None or each.maps <= available else max(0, available - 2 * each.band)
        buffers = most_maps if available is None else min(most_maps, max(0, available))
        trim = trims_after(forecasts, number)
        planned.append(replace(schedules[number], maps_in_memory=limit, buffers=buffers, trim_heap=trim))
    peak = peak_of(forecasts, fixed, None if budget is None else budget - prepared) + prepared
    return RunPlan(tuple(planned), ready, peak, to_file, prepared, tuple(forecasts))


def slab_rows(steps: Sequence[Step], stage: Stage, slab: int) -> int:
    """Rows of a stage's largest result in a slab of `slab` bytes.

    Bands of maps then have equal sizes at every resolution, so that buffers are reused.
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
    target = slab if convolutions <= CHAINED else slab // 2
    rows = max(1, int(target * total / max(kept, largest / WIDEST, 1)))
    return (rows + TILE // 2) // TILE * TILE if rows >= TILE // 2 else rows


def prepared_sizes(stages: Stages, convolvers: Convolvers) -> dict[int, int]:
    """The size of each convolution that has to be prepared, by step, in bytes."""
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
    """The number of multiplications in the convolutions of a network."""
    count = 0
    for step in stages.steps:
        if isinstance(step.operation, Convolve | ConvolveTransposed):
            # Each output value of a convolution, or input value of a transposed one, meets part of the weights.
            values = step if isinstance(step.operation, Convolve) else stages.steps[step.inputs[0].step]
            count += math.prod(values.shape) * step.operation.weight[0].numel()
    return count


def heaps(forecasts: Sequence[StageForecast]) -> list[int]:
    """The memory of the process for slabs and buffers at each stage, with freed memory that is not returned."""
    taken, result = 0.0, []
    for number, each in enumerate(forecasts):
        taken = max(taken, ALLOCATOR * each.workspace)
        result.append(int(taken))
        if trims_after(forecasts, number):
            taken = 0.0
    return result


def trims_after(forecasts: Sequence[StageForecast], number: int) -> bool:
    """Whether enough less memory is needed after a stage to return freed memory there."""
    later = max((each.workspace for each in forecasts[number + 1 :]), default=0)
    return forecasts[number].workspace - later > TRIM_THRESHOLD


def peak_of(forecasts: Sequence[StageForecast], fixed: int, budget: int | None) -> int:
    """The peak over all stages, with maps in memory as far as the budget allows."""
    most = max(
        fixed + BASE + each.wholes + heap + each.maps for each, heap in zip(forecasts, heaps(forecasts), strict=True)
    )
    return most if budget is None else min(most, budget)
