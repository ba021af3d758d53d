"""Lower a trace to steps; an activation after a convolution is fused with it."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.operations import SAME_ROW, Apply, Convolve, Operation, PerRow, Slot, Window
from vaekit.runtime.streaming.tracing import Call, Part, Ref, Size, Trace, replaced

RELUS = (F.relu, torch.relu)


def fused(steps: Sequence[Step], output: int) -> tuple[tuple[Step, ...], int]:
    """Fuse activations into convolutions.

    Args:
        steps: of the network, in order.
        output: the step that returns the result.
    """
    users = Counter(each.step for step in steps for each in step.inputs)
    users[output] += 1
    result: list[Step] = []
    places: dict[int, int] = {}
    for i, step in enumerate(steps):
        before = steps[step.inputs[0].step] if step.inputs else None
        if (
            is_relu(step)
            and before is not None
            and users[step.inputs[0].step] == 1
            and isinstance(before.operation, Convolve)
        ):
            places[i] = places[step.inputs[0].step]
            result[places[i]] = dataclasses.replace(
                result[places[i]], operation=dataclasses.replace(before.operation, relu=True)
            )
            continue
        places[i] = len(result)
        inputs = tuple(dataclasses.replace(each, step=places[each.step]) for each in step.inputs)
        result.append(dataclasses.replace(step, inputs=inputs))
    return tuple(result), places[output]


def is_relu(step: Step) -> bool:
    """Whether a step is a ReLU."""
    return isinstance(step.operation, Apply) and step.operation.function in RELUS and step.inputs[0].window == SAME_ROW


@dataclass(frozen=True)
class Value:
    """The result of a call during lowering."""

    step: int
    shape: tuple[int, ...]
    axis: int | None
    rows: int


class NotByRows(Exception):
    """The rows that a call needs are unknown, so that it runs on whole values."""


class Lowering:
    """Converts the calls of a trace to steps, for a latent of one size.

    Args:
        trace: of the network.
        h: rows of the latent.
        w: columns of the latent.
        names: the names of layers, by the ids of their weights.
        rules: for each function, the rule that lowers its calls.
    """

    def __init__(
        self,
        trace: Trace,
        h: int,
        w: int,
        names: Mapping[int, str],
        rules: "Mapping[Any, Callable[[CallContext], Value]]",
    ) -> None:
        self._rules = rules
        self.steps: list[Step] = []
        self._values: list[Value] = []
        self._names = names
        self._size = (h, w)
        self.has_columns = trace.has_columns
        for call in trace.calls:
            self._values.append(self._lowered(call))
        self.output = self._values[trace.output].step

    def value(self, ref: Any) -> Value:
        """The value of an argument.

        Raises:
            NotByRows: it is not the result of an earlier call.
        """
        if not isinstance(ref, Ref):
            raise NotByRows
        return self._values[ref.index]

    def add(
        self,
        operation: Operation | None,
        inputs: tuple[Input, ...],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        axis: int | None,
        rows: int,
        label: str = "",
    ) -> Value:
        """Append a step."""
        self.steps.append(Step(operation, inputs, shape, dtype, axis, rows, label))
        return Value(len(self.steps) - 1, shape, axis, rows)

    def _lowered(self, call: Call) -> Value:
        shape = tuple(each.at(*self._size) if isinstance(each, Size) else each for each in call.shape)
        grows = [axis for axis, each in enumerate(call.shape) if isinstance(each, Size) and each.by_rows]
        if call.function is None:
            return self.add(None, (), shape, call.dtype, grows[0], shape[grows[0]])
        context = CallContext(call, shape, grows[0] if len(grows) == 1 else None, self)
        function = call.function.function if isinstance(call.function, Part) else call.function
        before = len(self.steps)
        try:
            if len(grows) > 1 or function not in self._rules:
                raise NotByRows
            return self._rules[function](context)
        except NotByRows:
            del self.steps[before:]
            return context.whole()

    def at(self, size: Size) -> int:
        """A number that depends on the size of the latent."""
        return size.at(*self._size)

    def label(self, tensor: Tensor | None) -> str:
        """The name of the layer that a weight belongs to."""
        return self._names.get(id(tensor), "")


@dataclass(frozen=True)
class CallContext:
    """A call that is being lowered."""

    call: Call
    shape: tuple[int, ...]
    axis: int | None
    lowering: Lowering

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument, positional or by keyword."""
        if place < len(self.call.args):
            return self.call.args[place]
        return self.call.kwargs.get(name, default)

    def values(self) -> list[Value]:
        """All arguments that are results of earlier calls, in order."""
        values: list[Value] = []
        replaced((self.call.args, self.call.kwargs), lambda ref: values.append(self.lowering.value(ref)), Ref)
        return values

    def plain(self, rows: int) -> Apply:
        """The call as an operation on rows.

        Raises:
            NotByRows: an argument depends on the number of rows, but is not proportional to it.
        """
        slots = iter(range(len(self.values())))
        numbered = replaced((self.call.args, self.call.kwargs), lambda _: Slot(next(slots)), Ref)

        def number(size: Size) -> int | PerRow:
            now = self.lowering.at(size)
            if not size.by_rows:
                return now
            if rows == 0 or size.constant or now % rows:
                raise NotByRows
            return PerRow(now // rows)

        args, kwargs = replaced(numbered, number, Size)
        assert self.call.function is not None
        return Apply(self.call.function, args, kwargs)

    def local(
        self, windows: dict[int, Window | None] | None = None, rows: int | None = None, returns_view: bool = False
    ) -> Value:
        """A step that computes rows from the same rows of all inputs with rows, except for the given windows.

        Raises:
            NotByRows: no input has rows, or inputs have different numbers of rows.
        """
        values = self.values()
        chosen = windows or {}
        inputs = tuple(
            Input(value.step, chosen.get(i, SAME_ROW if value.axis is not None else None))
            for i, value in enumerate(values)
        )
        counts = {value.rows for value, each in zip(values, inputs, strict=True) if each.window is SAME_ROW}
        if rows is None:
            if len(counts) != 1:
                raise NotByRows
            rows = counts.pop()
        self.check_rows(rows)
        operation = dataclasses.replace(self.plain(rows), returns_view=returns_view)
        return self.lowering.add(operation, inputs, self.shape, self.call.dtype, self.axis, rows)

    def check_rows(self, rows: int) -> None:
        """Check that the result has this number of rows.

        Raises:
            NotByRows: it has no rows, or another number.
        """
        if self.axis is None or rows == 0 or self.shape[self.axis] % rows:
            raise NotByRows

    def whole(self) -> Value:
        """A step that runs on whole values."""
        rows = self.shape[self.axis] if self.axis is not None else 0
        operation = replaced_sizes(self.call, self.lowering._size)
        inputs = tuple(Input(value.step, None) for value in self.values())
        return self.lowering.add(operation, inputs, self.shape, self.call.dtype, self.axis, rows)


def replaced_sizes(call: Call, size: tuple[int, int]) -> Apply:
    """A call as an operation on whole values."""
    slots = iter(range(1000))
    numbered = replaced((call.args, call.kwargs), lambda _: Slot(next(slots)), Ref)
    args, kwargs = replaced(numbered, lambda each: each.at(*size), Size)
    assert call.function is not None
    return Apply(call.function, args, kwargs, cheap=False)


def without_ellipsis(entries: tuple[Any, ...], axes: int) -> tuple[Any, ...]:
    """The entries of an index for each of the axes, as far as they are given."""
    filled: list[Any] = []
    for each in entries:
        filled += [slice(None)] * (axes - len(entries) + 1) if each is Ellipsis else [each]
    return tuple(filled)


def selected(context: CallContext, value: Value, index: tuple[Any, ...]) -> Value:
    """A step that selects values by an index of numbers and slices.

    Raises:
        NotByRows: it selects a single row, no rows, or rows in reverse order; or several positions form a row.
    """
    entry = index[value.axis] if value.axis is not None and value.axis < len(index) else slice(None)
    window, rows = SAME_ROW, value.rows
    if entry != slice(None):
        if not isinstance(entry, slice) or value.axis is None or value.rows != value.shape[value.axis]:
            raise NotByRows
        start, stop, step = entry.indices(value.rows)
        if step < 1 or stop <= start:
            raise NotByRows
        window, rows = Window(stride=step, before=-start), len(range(start, stop, step))
        index = tuple(slice(None, None, step) if i == value.axis else each for i, each in enumerate(index))
    context.check_rows(rows)
    operation = Apply(Tensor.__getitem__, (Slot(0), index), returns_view=True)
    given = (Input(value.step, window),)
    return context.lowering.add(operation, given, context.shape, context.call.dtype, context.axis, rows)
