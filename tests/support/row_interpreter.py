"""A reference interpreter of lowered networks: the rows of any step, made anew from the input without any schedule."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from vaekit.runtime.streaming.ir import Step
from vaekit.runtime.streaming.lowering_rules import lower
from vaekit.runtime.streaming.operations import Moments, Total
from vaekit.runtime.streaming.tracing import trace


class Net(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def lowered(function: Callable[[Tensor], Tensor], h: int = 8, w: int = 4) -> tuple[tuple[Step, ...], int]:
    """The steps of a function of a map (1, 4, h, w), and which of them makes the result.

    The function is traced as the encoder of a VAE of factor 4: h and w are multiples of 4.
    """
    network = function if isinstance(function, nn.Module) else Net(function)
    names = {id(weight): name.rpartition(".")[0] for name, weight in network.named_parameters()}
    return lower(trace(network, lambda rows, columns: random_map(4 * rows, 4 * columns)), h // 4, w // 4, names)


def random_map(h: int, w: int, seed: int = 0) -> Tensor:
    """A map (1, 4, h, w)."""
    return torch.randn(1, 4, h, w, generator=torch.Generator().manual_seed(seed))


class Interpreter:
    """Makes rows of the values of a lowered network.

    Args:
        steps: the network.
        x: its input.
        slab: the rows at a time in which reductions take their input.
    """

    def __init__(self, steps: Sequence[Step], x: Tensor, slab: int) -> None:
        self.steps = steps
        self.x = x
        self.slab = slab

    def whole(self, i: int) -> Tensor:
        """A whole value."""
        step = self.steps[i]
        if step.operation is None:
            return self.x
        if step.whole:
            return step.operation.run((0, 0), [self.whole(each.step) for each in step.inputs])
        if isinstance(step.operation, Moments | Total):
            rows = self.steps[step.inputs[0].step].rows
            slabs = [self._made(step, a, min(a + self.slab, rows)) for a in range(0, rows, self.slab)]
            return reduce(step.operation.merge, slabs)
        return torch.cat(
            [self.rows(i, a, min(a + self.slab, step.rows)) for a in range(0, step.rows, self.slab)], dim=step.axis or 0
        )

    def rows(self, i: int, a: int, b: int) -> Tensor:
        """Rows a..b of a value."""
        step = self.steps[i]
        if step.operation is None or step.whole:
            return narrowed(step, self.whole(i), a, b)
        together = max(each.window.enlarge for each in step.inputs if each.window is not None)
        start, end = a // together * together, -(-b // together) * together
        return narrowed(step, self._made(step, start, end), a - start, b - start)

    def _made(self, step: Step, a: int, b: int) -> Tensor:
        assert step.operation is not None
        given = []
        for each in step.inputs:
            if each.window is None:
                given.append(self.whole(each.step))
            else:
                first, end = clipped(step_rows := self.steps[each.step].rows, each.window.first(a), each.window.end(b))
                assert 0 <= first <= end <= step_rows
                given.append(self.rows(each.step, first, end) if first < end else self._no_rows(each.step))
        return step.operation.run((a, b), given)

    def _no_rows(self, i: int) -> Tensor:
        return narrowed(self.steps[i], torch.empty(self.steps[i].shape, dtype=self.steps[i].dtype), 0, 0)


def clipped(rows: int, first: int, end: int) -> tuple[int, int]:
    """A range of rows, cut off at the ends of a map of so many."""
    first, end = (max(0, min(row, rows)) for row in (first, end))
    return first, max(first, end)


def narrowed(step: Step, value: Tensor, a: int, b: int) -> Tensor:
    """Rows a..b of a value of a step, or of some of its rows."""
    assert step.axis is not None
    return value.narrow(step.axis, a * step.unit, (b - a) * step.unit)


def input_rows(steps: Sequence[Step], i: int, a: int, b: int) -> tuple[int, int]:
    """The rows of the network's input that the windows name for rows a..b of a step, which reads no whole value."""
    step = steps[i]
    if step.operation is None:
        return a, b
    found = []
    for each in step.inputs:
        assert each.window is not None
        first, end = clipped(steps[each.step].rows, each.window.first(a), each.window.end(b))
        if first < end:
            found.append(input_rows(steps, each.step, first, end))
    return min((each[0] for each in found), default=0), max((each[1] for each in found), default=0)
