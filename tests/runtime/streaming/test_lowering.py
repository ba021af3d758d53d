"""Calls become steps: arguments, row counts, rules that give up, and fused activations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from row_interpreter import Interpreter, Net, lowered, random_map
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.lowering import CallContext, Lowering, NotByRows, Value, fused, replaced_sizes
from vaekit.runtime.streaming.operations import SAME_ROW, Apply, Convolve, PerRow, Slot
from vaekit.runtime.streaming.tracing import Call, Part, Ref, Size, Trace, trace

FP32 = torch.float32
ROWS, COLUMNS, BOTH = Size(rows=1), Size(columns=1), Size(area=1)
SHAPE = (1, 4, ROWS, COLUMNS)
Rule = Callable[[CallContext], Value]


def calls(*functions: tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]) -> Trace:
    """A trace of an input (1, 4, h, w) and of calls: function, arguments, shape of the result."""
    first = Call(None, (), {}, SHAPE, FP32)
    others = [Call(function, args, {}, shape, FP32) for function, args, shape in functions]
    return Trace((first, *others), len(others), (torch.zeros(1), torch.zeros(1)))


def lowering(watched: Trace, rules: dict[Any, Rule], names: dict[int, str] | None = None) -> Lowering:
    return Lowering(watched, 6, 5, names or {}, rules)


def context(*args: Any, shape: tuple[Any, ...] = SHAPE, function: Any = torch.neg, **kwargs: Any) -> CallContext:
    """A call on the input of a network of 6 rows and 5 columns."""
    call = Call(function, args, kwargs, shape, FP32)
    sizes = tuple(each.at(6, 5) if isinstance(each, Size) else each for each in shape)
    return CallContext(call, sizes, 2, lowering(calls(), {}))


# The input and single calls


def test_the_input_is_a_step_without_an_operation() -> None:
    (first,) = lowering(calls(), {}).steps
    assert first == Step(None, (), (1, 4, 6, 5), FP32, 2, 6)


def test_rows_are_found_on_any_axis_of_the_input() -> None:
    steps, output = lowered(lambda x: x)
    assert (steps[output].axis, steps[output].rows) == (2, 8)
    first = Call(None, (), {}, (1, Size(rows=3), 7), FP32)
    (step,) = Lowering(Trace((first,), 0, (torch.zeros(1),) * 2), 4, 1, {}, {}).steps
    assert (step.shape, step.axis, step.rows) == ((1, 12, 7), 1, 12)


def test_a_function_without_a_rule_is_a_whole_step() -> None:
    made = lowering(calls((torch.flip, (Ref(0), (2,)), SHAPE)), {})
    step = made.steps[made.output]
    assert step.whole and step.inputs == (Input(0, None),) and step.rows == 6
    assert step.operation == Apply(torch.flip, (Slot(0), (2,)), {}, cheap=False)


def test_a_rule_is_asked_for_the_function_behind_a_part() -> None:
    asked: list[Any] = []

    def rule(here: CallContext) -> Value:
        asked.append(here.call.function)
        return here.local()

    part = Part(torch.chunk, 1)
    made = lowering(calls((part, (Ref(0), 2, 1), (1, 2, ROWS, COLUMNS))), {torch.chunk: rule})
    assert asked == [part]
    operation = made.steps[1].operation
    assert isinstance(operation, Apply)
    x = torch.randn(1, 4, 3, 5)
    assert torch.equal(operation.run((0, 3), [x]), x[:, 2:])


def test_steps_of_a_rule_that_gives_up_are_taken_back() -> None:
    def rule(here: CallContext) -> Value:
        here.local()
        here.local()
        raise NotByRows

    made = lowering(calls((torch.neg, (Ref(0),), SHAPE), (torch.neg, (Ref(1),), SHAPE)), {torch.neg: rule})
    assert len(made.steps) == 3 and made.output == 2
    assert [step.inputs for step in made.steps[1:]] == [(Input(0, None),), (Input(1, None),)]


def test_a_result_with_rows_on_two_axes_is_whole_without_asking() -> None:
    def rule(here: CallContext) -> Value:
        raise AssertionError

    shape = (1, ROWS, Size(area=2))
    made = lowering(calls((torch.matmul, (Ref(0), Ref(0)), shape)), {torch.matmul: rule})
    step = made.steps[1]
    assert (step.whole, step.shape, step.axis, step.rows) == (True, (1, 6, 60), None, 0)


def test_labels_follow_the_identity_of_weights() -> None:
    weight, other = torch.zeros(1), torch.zeros(1)
    made = lowering(calls(), {}, {id(weight): "down.0"})
    assert (made.label(weight), made.label(other), made.label(None)) == ("down.0", "", "")


# CallContext


def test_arguments_are_found_by_place_or_by_name() -> None:
    here = context(Ref(0), 3, stride=2)
    assert here.argument(1, "size") == 3
    assert here.argument(3, "stride", 1) == 2
    assert here.argument(4, "padding", 7) == 7
    assert here.argument(5, "bias") is None


def test_only_results_of_earlier_calls_are_values() -> None:
    here = context(Ref(0), [torch.zeros(1), Ref(0)], 3, other=Ref(0))
    assert here.values() == [Value(0, (1, 4, 6, 5), 2, 6)] * 3
    for other in (torch.zeros(1), 3, None):
        with pytest.raises(NotByRows):
            here.lowering.value(other)


def test_sizes_become_numbers_or_numbers_per_row() -> None:
    here = context(Ref(0), (1, COLUMNS, Size(3, 0, 2), Size(area=4), Size(rows=2)), size=BOTH)
    operation = here.plain(6)
    assert operation == Apply(torch.neg, (Slot(0), (1, 5, 13, PerRow(20), PerRow(2))), {"size": PerRow(5)})


@pytest.mark.parametrize(
    ("size", "rows"), [(Size(6, 1), 6), (Size(rows=1), 0), (Size(rows=1), 4)], ids=["constant", "no rows", "remainder"]
)
def test_numbers_that_are_not_proportional_to_the_rows_are_unknown(size: Size, rows: int) -> None:
    with pytest.raises(NotByRows):
        context(Ref(0), size).plain(rows)


def test_a_local_step_reads_the_same_rows_but_for_the_windows_given() -> None:
    here = context(Ref(0), Ref(0))
    here.local({1: None}, returns_view=True)
    step = here.lowering.steps[-1]
    assert step.inputs == (Input(0, SAME_ROW), Input(0, None))
    assert (step.axis, step.rows) == (2, 6)
    assert isinstance(step.operation, Apply) and step.operation.returns_view and step.operation.cheap


def test_a_local_step_needs_inputs_with_the_same_number_of_rows() -> None:
    here = context(Ref(0), Ref(0))
    here.lowering._values.append(Value(0, (1, 4, 3, 5), 2, 3))
    with pytest.raises(NotByRows):
        context_of(here, Ref(0), Ref(1)).local()
    here.lowering._values.append(Value(0, (1, 4), None, 0))
    with pytest.raises(NotByRows):
        context_of(here, Ref(2)).local()


def context_of(here: CallContext, *args: Any) -> CallContext:
    """Another call in the same lowering."""
    return CallContext(Call(torch.neg, args, {}, SHAPE, FP32), here.shape, here.axis, here.lowering)


def test_results_must_hold_whole_rows() -> None:
    here = context(Ref(0))
    here.check_rows(3)
    for rows in (0, 4):
        with pytest.raises(NotByRows):
            here.check_rows(rows)
    with pytest.raises(NotByRows):
        CallContext(here.call, here.shape, None, here.lowering).check_rows(6)


def test_a_whole_call_has_its_sizes_as_numbers() -> None:
    call = Call(torch.reshape, (Ref(0), (1, BOTH, [Size(2, 1)])), {"like": Ref(1)}, (), FP32)
    assert replaced_sizes(call, (6, 5)) == Apply(
        torch.reshape, (Slot(0), (1, 30, (8,))), {"like": Slot(1)}, cheap=False
    )


# Fused activations

WEIGHT = torch.randn(4, 4, 1, 1, generator=torch.Generator().manual_seed(0))


def conv(x: Tensor) -> Tensor:
    return F.conv2d(x, WEIGHT)


FUSED: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "relu after a convolution": (lambda x: F.relu(conv(x)), ["conv+relu"]),
    "torch.relu": (lambda x: torch.relu(conv(x)), ["conv+relu"]),
    "two of them": (lambda x: F.relu(conv(F.relu(conv(x)))), ["conv+relu", "conv+relu"]),
    "between others": (lambda x: F.relu(conv(F.silu(x))) + 1, ["silu", "conv+relu", "add"]),
    "relu of a relu": (lambda x: F.relu(F.relu(conv(x))), ["conv+relu", "relu"]),
    "another activation": (lambda x: F.silu(conv(x)), ["conv", "silu"]),
    "relu of something else": (lambda x: F.relu(F.silu(x)), ["silu", "relu"]),
    "convolution that is used twice": (lambda x: torch.add(F.relu(made := conv(x)), made), ["conv", "relu", "add"]),
    "convolution that is used after its relu": (
        lambda x: F.silu(F.relu(made := conv(x))) * made,
        ["conv", "relu", "silu", "mul"],
    ),
}


def described(step: Step) -> str:
    """What a step does, in a word."""
    if isinstance(step.operation, Convolve):
        return "conv+relu" if step.operation.relu else "conv"
    assert isinstance(step.operation, Apply)
    return step.operation.function.__name__.strip("_")


@pytest.mark.parametrize("name", FUSED)
def test_a_relu_is_fused_with_the_convolution_that_only_it_reads(name: str) -> None:
    function, expected = FUSED[name]
    steps, output = lowered(function)
    assert [described(step) for step in steps[1:]] == expected
    x = random_map(8, 4, seed=1)
    torch.testing.assert_close(Interpreter(steps, x, 3).whole(output), function(x))


class Second(torch.nn.Module):
    """Returns a convolution, though its relu is computed too."""

    def forward(self, x: Tensor) -> Tensor:
        made = conv(x)
        F.relu(made)
        return made


def test_a_convolution_that_is_the_result_keeps_its_negative_values() -> None:
    steps, output = lowered(Second())
    operation = steps[output].operation
    assert isinstance(operation, Convolve) and not operation.relu
    assert len(steps) == 3 and output == 1


def test_fusing_moves_the_inputs_of_later_steps_and_the_output() -> None:
    plain = [Step(None, (), (1, 4, 6, 5), FP32, 2, 6)]
    operations = [Convolve(WEIGHT, None, (1, 1), (1, 1), 1), Apply(F.relu, (Slot(0),)), Apply(F.silu, (Slot(0),))]
    for i, operation in enumerate(operations):
        plain.append(Step(operation, (Input(i, SAME_ROW),), (1, 4, 6, 5), FP32, 2, 6))
    steps, output = fused(plain, 3)
    assert output == 2 and [step.inputs for step in steps[1:]] == [(Input(0, SAME_ROW),), (Input(1, SAME_ROW),)]
    steps, output = fused(plain[:3], 2)
    assert output == 1 and len(steps) == 2
    assert not any(isinstance(step.operation, Convolve) and step.operation.relu for step in plain)


def test_lowering_depends_on_the_size_alone() -> None:
    watched = trace(Net(lambda x: x.reshape(1, 2, 2, -1, x.shape[3])), lambda h, w: random_map(h, w))
    for h, w in ((1, 1), (3, 8)):
        made = Lowering(watched, h, w, {}, {})
        assert [step.shape for step in made.steps] == [(1, 4, h, w), (1, 2, 2, h, w)]
