"""Predict the memory of a run.

The first slabs of each stage are simulated with sizes instead of tensors: later slabs are not larger. The total size of
stored maps changes monotonically during a stage, so that it is computed at its start and end. A run of a whole network
is followed step by step.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.backends import Convolvers, torch_workspace
from vaekit.runtime.numerics import HALF
from vaekit.runtime.streaming.executor import StageRows
from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.operations import (
    CONVOLUTIONS,
    TRANSPOSED,
    Apply,
    Convolve,
    ConvolveTransposed,
    Moments,
    Normalize,
    Pad,
)
from vaekit.runtime.streaming.schedule import Stage, Stages
from vaekit.runtime.streaming.tracing import Call, Ref, Size, Trace
from vaekit.runtime.streaming.walk import RowStep, Task, row_ranges, rows_read, walk

SINGLE = 4
"""The size of an fp32 value in bytes."""
WORKSPACE = 1.25
"""Memory of a whole run on a GPU relative to that of its maps: includes buffers of convolutions, and fragmentation."""
FRAGMENTED = 1.1
"""Memory of a whole run on a CPU relative to that of its maps and workspaces."""
COPYING = (F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm)
"""Functions that may copy their inputs to a contiguous layout."""
FRAGMENTED_LINES = 1.8
"""The same for items with one axis, whose maps are blocks of sizes that the C library caches."""
PRODUCT = 9
"""Bytes for each product of a query with a key: before and after the softmax in fp32, and whether it is finite."""
MANY_PRODUCTS = 16 << 20
"""The size of all products of an attention in fp32, in bytes, above which they are computed in parts."""
SIMULATED_SLABS = 4
"""The first slabs of a stage take the peak memory, as they include the halos of later ones."""


@dataclass(frozen=True)
class StageForecast:
    """The memory of one stage in bytes."""

    workspace: int
    """The peak of slabs, buffers and prepared convolutions."""
    wholes: int
    """Values that are stored as a whole while it runs; the result is counted by the caller."""
    maps: int
    """The peak of stored maps, in memory or in the file."""
    band: int
    """The rows of a map that are written or read at a time."""


def forecast(
    stages: Stages,
    schedules: Sequence[StageRows],
    convolvers: Convolvers,
    ready: frozenset[int],
    streamed: bool = False,
) -> list[StageForecast]:
    """Predict the memory of each stage.

    Args:
        stages: of the network.
        schedules: how each stage will run.
        convolvers: for the convolutions.
        ready: steps whose convolutions stay prepared between runs, which are counted separately.
        streamed: whether the input is read and the output written by rows; else the caller counts both.
    """
    alive: dict[int, Step] = {}
    forecasts = []
    for number, (stage, schedule) in enumerate(zip(stages.stages, schedules, strict=True)):
        before = dict(alive)
        alive |= {i: stages.steps[i] for i in stage.kept}
        whole = {i for i, step in alive.items() if step.axis is None or step.whole or i in stages.read_whole}
        if stages.output in alive:
            whole.add(stages.output)
        wholes = sum(step.nbytes for i, step in alive.items() if i in whole and i != stages.output)
        at_start = sum(step.nbytes for i, step in before.items() if i not in whole)
        alive = {i: step for i, step in alive.items() if stages.last_use[i] > number}
        at_end = sum(step.nbytes for i, step in alive.items() if i not in whole)
        simulation = StageSimulation(stages, stage, schedule, convolvers, ready, streamed)
        simulation.run()
        maps = max(at_start, at_end)
        slack = min(2 * simulation.band, maps)  # a band is freed after all of it was read
        forecasts.append(StageForecast(simulation.peak, wholes, maps + slack, simulation.band))
    return forecasts


class StageSimulation:
    """Simulates the slabs of one part of a stage; all parts are alike."""

    def __init__(
        self,
        stages: Stages,
        stage: Stage,
        schedule: StageRows,
        convolvers: Convolvers,
        ready: frozenset[int],
        streamed: bool = False,
    ) -> None:
        self.steps = stages.steps
        self.streamed = {0, stages.output} if streamed else set[int]()
        self.stage = stage
        self.slab_rows = schedule.slab_rows
        self.convolvers = convolvers
        self.ready = ready
        self.rowed = [task for task in stage.tasks if not task.step.whole]
        self.ranges = row_ranges(self.steps, self.rowed, stage.kept, schedule.parts)
        self.kept = set(stage.kept)
        self.read = {source for task in self.rowed for source, _ in task.reads}
        self.prepared = sum(self.prepared_bytes(task) for task in self.rowed)
        self.held: dict[int, tuple[int, int]] = {}
        self.padded = {task.index: 0 for task in self.rowed if task.pads}
        self.taken = self.peak_of_part = self.band_of_part = 0

    @property
    def peak(self) -> int:
        """The peak memory of the stage in bytes."""
        return self.prepared + len(self.ranges) * self.peak_of_part

    @property
    def band(self) -> int:
        """The size of the rows of a map that are written or read at a time, in bytes."""
        return len(self.ranges) * self.band_of_part

    def prepared_bytes(self, task: Task) -> int:
        """The size of a convolution that is prepared for this stage only, in bytes."""
        operation = task.step.operation
        if not isinstance(operation, Convolve) or task.index in self.ready:
            return 0
        return self.convolvers.chosen(operation).prepared_bytes(operation)

    def run(self) -> None:
        """Simulate the first slabs."""
        if not self.ranges:
            return
        row_range = self.ranges[len(self.ranges) // 2]
        self.held = {task.index: (row_range.first[task.index],) * 2 for task in self.rowed if task.index in self.read}
        if 0 in self.streamed and 0 in row_range.reads:
            self.held[0] = (row_range.reads[0][0],) * 2
        last = max((task.index for task in self.rowed), default=0)
        slabs = 0
        for row_step in walk(self.steps, self.rowed, self.stage.kept, self.slab_rows, row_range):
            self.step(row_step)
            slabs += row_step.task.index == last
            if slabs == SIMULATED_SLABS:
                break

    def step(self, row_step: RowStep) -> None:
        """Simulate the computation of some rows: the memory during it, and afterwards."""
        task, rows = row_step.task, row_step.b - row_step.a
        input_size = sum(self.input_bytes(source, row_step) for source, _ in task.reads)
        operation = task.step.operation
        output_size = rows * task.step.bytes_per_row
        extra = 0 if isinstance(operation, Apply) and operation.returns_view else output_size
        if not task.pads:
            # Rows of several bands are concatenated.
            extra += sum(self.input_bytes(source, row_step) for source, _ in task.reads if source not in self.held)
        if isinstance(operation, Convolve | ConvolveTransposed):
            extra += self.convolution_bytes(row_step, operation)
        elif isinstance(operation, Moments):
            extra += self.in_single(task, input_size)
        elif normalizes_in_single(task):
            extra += 2 * self.in_single(task, input_size)
        elif isinstance(operation, Pad) and not task.pads:
            extra += input_size
        if 0 in self.held and 0 in (source for source, _ in task.reads):
            extra += 2 * self.read_rows(row_step)
        if task.index in self.streamed:
            extra += 2 * output_size  # the distribution, and its mode in fp32
        if task.index in self.padded:
            first, (start, end) = self.padded[task.index], self.held[task.index]
            self.hold(task.index, max(start, min(first, end)), end)
        if task.index in self.held:
            start, end = self.held[task.index]
            extra += (end - start) * task.step.bytes_per_row  # old rows are copied before new ones
            self.hold(task.index, start, row_step.b)
            extra -= output_size
        self.peak_of_part = max(self.peak_of_part, self.taken + max(0, extra))
        if task.index in self.kept and not task.step.reduces:
            self.band_of_part = max(self.band_of_part, output_size)
        for source, row in row_step.releases:
            # Padded rows stay in place until the next ones are computed, or no more are needed.
            if source in self.held and (source not in self.padded or row >= self.held[source][1]):
                start, end = self.held[source]
                self.hold(source, min(max(start, row), end), end)
            elif source in self.held:
                self.padded[source] = row

    def in_single(self, task: Task, input_size: int) -> int:
        """The size in fp32 of the rows that a task reads, in bytes."""
        return input_size * SINGLE // self.steps[task.reads[0][0]].dtype.itemsize

    def convolution_bytes(self, row_step: RowStep, convolution: Convolve | ConvolveTransposed) -> int:
        """Additional memory of a convolution of some rows, in bytes."""
        ((source, window),) = row_step.task.reads
        first, last = rows_read(window, row_step.a, row_step.b, self.steps[source].rows)
        shapes = self.steps[source].shape_of(last - first), row_step.task.step.shape_of(row_step.b - row_step.a)
        if isinstance(convolution, ConvolveTransposed):  # rows beyond those of the output are computed and dropped
            size = math.prod(shapes[1][2:]) + convolution.weight.shape[2] * math.prod(shapes[1][3:])
            return torch_workspace(convolution.weight, shapes[0], (*shapes[1][:2], size))
        return self.convolvers.chosen(convolution).workspace_bytes(convolution, *shapes)

    def hold(self, i: int, start: int, end: int) -> None:
        """Set the rows of a value that are in memory."""
        before, after = self.held[i]
        self.taken += (end - start - (after - before)) * self.steps[i].bytes_per_row
        self.held[i] = (start, end)

    def read_rows(self, row_step: RowStep) -> int:
        """Read the rows of the input for a row step as far as they are not in memory; returns their size in bytes."""
        window = next(window for each, window in row_step.task.reads if each == 0)
        start, end = self.held[0]
        reached = max(end, rows_read(window, row_step.a, row_step.b, self.steps[0].rows)[1])
        self.hold(0, start, reached)
        return (reached - end) * self.steps[0].bytes_per_row

    def input_bytes(self, source: int, row_step: RowStep) -> int:
        """The size of the rows that are read for a row step, in bytes."""
        window = next(window for each, window in row_step.task.reads if each == source)
        first, last = rows_read(window, row_step.a, row_step.b, self.steps[source].rows)
        return max(0, last - first) * self.steps[source].bytes_per_row


def normalizes_in_single(task: Task) -> bool:
    """Whether a task normalizes rows of half precision, for which they are copied to fp32."""
    steps = (task.step, *task.ahead)
    return any(isinstance(step.operation, Normalize) and step.dtype in HALF for step in steps)


def whole_peak(trace: Trace, size: tuple[int, int], device: torch.device) -> int:
    """The predicted peak memory in bytes of a whole run for one item, including input and result.

    Calls are followed in the order of an uncompiled network: during each, its result, its workspace, and all earlier
    results that exist are in memory. A compiled network creates fewer maps, so that this is an upper bound.

    Args:
        trace: of the network.
        size: rows and columns of the latent.
        device: of the network.
    """
    owned = {each.owner: 0 for each in trace.held}
    for each in trace.held:
        owned[each.owner] = max(owned[each.owner], each.until)
    ending: Counter[int] = Counter()
    most = taken = 0
    for i, (call, held) in enumerate(zip(trace.calls, trace.held, strict=True)):
        if held.owner == i:
            nbytes = math.prod(shape_at(call, size)) * call.dtype.itemsize
            taken += nbytes
            ending[owned[i]] += nbytes
        most = max(most, taken + (call_workspace(trace, call, size) if device.type == "cpu" else 0))
        taken -= ending[i]
    fragmented = FRAGMENTED if trace.has_columns else FRAGMENTED_LINES
    return int((fragmented if device.type == "cpu" else WORKSPACE) * most)


def call_workspace(trace: Trace, call: Call, size: tuple[int, int]) -> int:
    """Additional memory of a call on a CPU in bytes."""
    inputs = [trace.calls[each.index] for each in call.args if isinstance(each, Ref)]
    if call.function in CONVOLUTIONS or call.function in TRANSPOSED:
        weight = next((each for each in call.args if isinstance(each, Tensor)), None)
        if weight is not None:
            return torch_workspace(weight, shape_at(inputs[0], size), shape_at(call, size))
    copies = sum(math.prod(shape_at(each, size)) * each.dtype.itemsize for each in inputs)
    if call.function is F.scaled_dot_product_attention and len(inputs) == 3:
        queries, keys = (shape_at(each, size) for each in inputs[:2])
        return copies + (0 if attends_in_parts(queries, keys) else PRODUCT * pairs_of(queries, keys))
    return copies if call.function in COPYING else 0


def attends_in_parts(queries: Sequence[int], keys: Sequence[int]) -> bool:
    """Whether attention, given the shapes of queries and keys, runs on contiguous copies, for which torch computes the
    products in parts. For others it holds all of them."""
    return len(queries) == 4 and SINGLE * pairs_of(queries, keys) > MANY_PRODUCTS


def pairs_of(queries: Sequence[int], keys: Sequence[int]) -> int:
    """The number of products of queries with keys, given their shapes (..., positions, channels)."""
    return math.prod(queries[:-1]) * keys[-2]


def shape_at(call: Call, size: tuple[int, int]) -> tuple[int, ...]:
    """The shape of the result of a call, for a latent of this size."""
    return tuple(each.at(*size) if isinstance(each, Size) else each for each in call.shape)
