"""Traces of small networks: the calls, the sizes in them, and the networks that cannot be traced."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from row_interpreter import Net, random_map
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.runtime.streaming.tracing import (
    LINES,
    SMALL,
    TALLER,
    WIDER,
    Call,
    Held,
    NotTraceable,
    Part,
    Recorder,
    Ref,
    Size,
    Trace,
    equal,
    fitted,
    longer,
    merged,
    merged_calls,
    replaced,
    tensors_in,
    trace,
)

FP32 = torch.float32
H, W = Size(rows=1), Size(columns=1)
MAP = (1, 4, H, W)


def traced(function: Callable[[Tensor], Any]) -> Trace:
    """The trace of a function of a map (1, 4, h, w)."""
    return trace(function if isinstance(function, nn.Module) else Net(function), random_map)


# Sizes


def test_a_size_is_a_linear_function_of_the_latent() -> None:
    size = Size(constant=3, rows=2, columns=-1, area=4)
    assert size.at(5, 7) == 3 + 2 * 5 - 7 + 4 * 35


@pytest.mark.parametrize(
    ("size", "grows"),
    [(Size(3), False), (Size(columns=2), False), (Size(rows=2), True), (Size(area=1), True), (Size(1, -1), True)],
)
def test_which_sizes_grow_with_the_rows(size: Size, grows: bool) -> None:
    assert size.by_rows is grows


def at_the_three(size: Size) -> tuple[int, int, int]:
    return size.at(*SMALL), size.at(*TALLER), size.at(*WIDER)


@pytest.mark.parametrize("size", [Size(*each) for each in itertools.product((-2, 0, 3), (-1, 0, 1, 8), (0,))])
def test_linear_sizes_of_rows_are_found_again(size: Size) -> None:
    assert fitted(*at_the_three(size)) == size


@pytest.mark.parametrize("size", [Size(2, 0, 3), Size(0, 0, -1), Size(area=1), Size(area=64), Size(area=-2)])
def test_sizes_of_columns_or_of_the_area_are_found_again(size: Size) -> None:
    assert fitted(*at_the_three(size)) == size


@pytest.mark.parametrize(
    "size",
    [
        lambda h, w: h + w,
        lambda h, w: h * w + 1,
        lambda h, w: h * w + w - 3,
        lambda h, w: h * w + 5 - w,
        lambda h, w: (h + 2) * (w + 2),
        lambda h, w: h * h * w,
        lambda h, w: h * h + 0 * w,
        lambda h, w: -(-h // 2) + 0 * w,
        lambda h, w: h // 2 + 0 * w,
        lambda h, w: h // 3 + 0 * w,
        lambda h, w: w // 2 + 0 * h,
        lambda h, w: -(-w // 4) + 0 * h,
        max,
        min,
        lambda *size: size[1] * (size[1] + 1) // 2,
    ],
)
def test_other_functions_of_rows_and_columns_are_not_guessed(size: Callable[[int, int], int]) -> None:
    with pytest.raises(NotTraceable):
        fitted(size(*SMALL), size(*TALLER), size(*WIDER))


# Calls


def test_calls_are_written_down_in_order_with_their_shapes() -> None:
    weight, bias = torch.randn(6, 4, 3, 3), torch.randn(6)
    made = traced(lambda x: F.relu(F.conv2d(x, weight, bias, padding=1)) + 1)
    first, conv, relu, added = made.calls
    assert first == Call(None, (), {}, MAP, FP32)
    assert conv.function is F.conv2d and conv.args[0] == Ref(0) and conv.kwargs == {"padding": 1}
    assert conv.args[1] is weight and conv.args[2] is bias
    assert (conv.shape, relu.shape, added.shape) == ((1, 6, H, W),) * 3
    assert relu.function is F.relu and relu.args == (Ref(1),)
    assert added.args == (Ref(2), 1)
    assert made.output == 3


def test_a_trace_holds_its_smallest_example() -> None:
    made = traced(lambda x: x * 2)
    given, returned = made.example
    assert given.shape[2:] == SMALL and torch.equal(returned, given * 2)


def test_the_output_need_not_be_the_last_call() -> None:
    class Early(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            made = x + 1
            made.exp()
            return made

    made = traced(Early())
    assert (made.output, len(made.calls)) == (1, 3)


def test_numbers_from_the_shape_become_sizes() -> None:
    made = traced(lambda x: x.reshape(1, 4, x.shape[2] * x.shape[3]).narrow(2, 0, 2 * x.shape[2]))
    reshape, narrow = made.calls[1:]
    assert reshape.args == (Ref(0), 1, 4, Size(area=1))
    assert narrow.args == (Ref(1), 2, 0, Size(rows=2))
    assert (reshape.shape, narrow.shape) == ((1, 4, Size(area=1)), (1, 4, Size(rows=2)))


def test_numbers_in_slices_become_sizes() -> None:
    made = traced(lambda x: x[:, :, 1 : x.shape[2] - 1, : x.shape[3]])
    assert made.calls[1].args == (Ref(0), (slice(None), slice(None), slice(1, Size(-1, 1)), slice(None, W)))


def test_items_with_one_axis_have_rows_only() -> None:
    made = trace(Net(lambda x: x[..., : 2 * x.shape[2] - 3]), lambda rows, _: torch.zeros(1, 4, 2 * rows), LINES)
    assert (made.calls[0].shape, made.calls[1].shape) == ((1, 4, Size(rows=2)), (1, 4, Size(rows=2)))
    assert made.calls[1].args == (Ref(0), (..., slice(None, Size(-3, 4))))
    assert (made.has_columns, made.example_size) == (False, LINES[0]) and traced(F.relu).has_columns
    with pytest.raises(NotTraceable):
        trace(Net(lambda x: x[..., : x.shape[2] // 2]), lambda rows, _: torch.zeros(1, 4, rows), LINES)


def test_longer_items_for_a_network_that_needs_them() -> None:
    assert longer(LINES, 1) == LINES and [each[0] for each in longer(LINES, 9)] == [each[0] + 8 for each in LINES]


def test_strided_convolutions_have_sizes_with_a_constant() -> None:
    weight = torch.randn(4, 4, 3, 3)
    network = Net(lambda x: F.conv2d(x, weight, stride=2))
    made = trace(network, lambda h, w: random_map(4 * h, 4 * w))
    assert made.calls[1].shape == (1, 4, Size(-1, 2), Size(-1, 0, 2))


def test_each_tensor_of_several_is_a_part() -> None:
    made = traced(lambda x: x.chunk(2, 1)[1])
    first, second = made.calls[1:]
    assert isinstance(first.function, Part) and isinstance(second.function, Part)
    assert (first.function.function, first.function.index, second.function.index) == (Tensor.chunk, 0, 1)
    assert made.output == 2
    x = torch.randn(1, 4, 2, 2)
    assert torch.equal(second.function(x, 2, 1), x[:, 2:])


def test_a_function_that_returns_its_argument_is_no_call() -> None:
    made = traced(lambda x: x.contiguous() + 1)
    assert len(made.calls) == 2
    made = traced(lambda x: x)
    assert (len(made.calls), made.output) == (1, 0)


def test_what_does_not_depend_on_the_input_stays_a_constant() -> None:
    weight = torch.randn(4, 1, 1)
    made = traced(lambda x: x * (weight + 1).exp())
    assert len(made.calls) == 2
    assert torch.equal(made.calls[1].args[1], (weight + 1).exp())


def test_references_may_be_nested() -> None:
    made = traced(lambda x: torch.cat([x, x + 1], dim=1))
    assert made.calls[2].args == ((Ref(0), Ref(1)),) and made.calls[2].kwargs == {"dim": 1}


def test_dtypes_are_written_down() -> None:
    assert [call.dtype for call in traced(lambda x: x.half().float()).calls] == [FP32, torch.float16, FP32]


def test_tensors_that_are_gone_are_not_mistaken_for_new_ones() -> None:
    def function(x: Tensor) -> Tensor:
        for _ in range(50):
            x = x + 1  # each of these may get the id of one that was freed
        return x

    assert [call.args[0] for call in traced(function).calls[1:]] == [Ref(i) for i in range(50)]


def test_no_gradients_are_recorded() -> None:
    seen: list[bool] = []

    def function(x: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return x + 1

    traced(function)
    assert seen == [False] * 3


# Networks that cannot be traced


def rows_one_by_one(x: Tensor) -> Tensor:
    return torch.stack([x[:, :, row] for row in range(x.shape[2])], 2)


def one_call_more(size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """A function that does something more, whose result it does not use, for latents of one size."""

    def function(x: Tensor) -> Tensor:
        made = x + 1
        if tuple(x.shape[2:]) == size:
            made.exp()
        return made

    return function


def zeroed(x: Tensor) -> Tensor:
    """Set the first column to zero."""
    x[..., 0] = 0
    return x


UNTRACEABLE: dict[str, Callable[[Tensor], Any]] = {
    "as many calls as rows": rows_one_by_one,
    "more calls for more rows": one_call_more(TALLER),
    "more calls for more columns": one_call_more(WIDER),
    "another function for other sizes": lambda x: x.exp() if x.shape[2] == TALLER[0] else x.neg(),
    "another dtype for other sizes": lambda x: x.half() if x.shape[3] == WIDER[1] else x.to(torch.bfloat16),
    "a factor that depends on the size": lambda x: x / x.shape[2] ** 0.5,
    "a table that depends on the size": lambda x: x + torch.arange(x.shape[3]),
    "half of the rows, rounded up": lambda x: x[:, :, : (x.shape[2] + 1) // 2],
    "half of the rows, rounded down": lambda x: x[:, :, : x.shape[2] // 2],
    "the square of the rows": lambda x: x.expand(x.shape[2] ** 2, -1, -1, -1),
    "the longer side": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, max(x.shape[2:]), -1),
    "half of the columns, rounded up": lambda x: x[:, :, :, : (x.shape[3] + 1) // 2],
    "the square of the columns": lambda x: x.expand(x.shape[3] ** 2, -1, -1, -1),
    "half of the perimeter": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, sum(x.shape[2:]), -1),
    "a size that is no simple function": lambda x: F.pad(x, (1, 1, 1, 1)).flatten(2),
    "two results": lambda x: (x, x + 1),
    "a result that does not depend on the input": lambda _: torch.zeros(1),
    "no tensor": lambda x: float(x.sum()),
    "a value that is modified": lambda x: (x + 1).add_(1),
    "a part of a value that is modified": lambda x: zeroed(x + 1) * 2,
    "an activation in place": lambda x: F.leaky_relu(x + 1, inplace=True),
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_networks_that_cannot_be_traced_raise(name: str) -> None:
    with pytest.raises(NotTraceable):
        traced(UNTRACEABLE[name])


def test_nested_values_are_equal_with_their_tensors() -> None:
    one, same, other = torch.ones(2), torch.ones(2), torch.zeros(2)
    assert equal((1, {"a": one}), (1, {"a": same})) and not equal((1, {"a": one}), (1, {"a": other}))
    assert not equal(one, torch.ones(3)) and not equal((1,), (1, 2)) and not equal({"a": 1}, {"b": 1})
    assert not equal(1, True) and not equal(1, None) and equal(None, None)


class Chain(nn.Module):
    """A map that nothing reads after its first use exists as long as a caller holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        held = x + self.weight
        flat = held.flatten(2)
        first = flat.exp()
        del flat
        second = first.neg()
        del first
        return second.sqrt().unflatten(2, held.shape[2:])


def test_results_exist_until_nobody_holds_them() -> None:
    made = traced(Chain())
    names = ["input", "held", "flat", "first", "second", "sqrt", "result"]
    held = dict(zip(names, made.held, strict=True))
    assert held["flat"] == Held(1, 3) and held["first"] == Held(3, 4)
    end = len(names)
    assert held["input"] == Held(0, end)
    assert held["held"].owner == 1 and held["held"].until >= 6
    assert held["sqrt"].owner == 5 and held["sqrt"].until >= 6 and held["result"] == Held(5, end)


def test_a_table_that_is_the_same_for_all_sizes_is_a_constant() -> None:
    made = traced(lambda x: x + torch.arange(4.0).view(4, 1, 1))
    assert torch.equal(made.calls[1].args[1].flatten(), torch.arange(4.0))


def test_errors_of_the_network_come_through() -> None:
    def fails(x: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        traced(fails)


# Helpers


def test_nested_values_are_replaced_and_lists_become_tuples() -> None:
    value = {"a": [1, (2.0, 3)], "b": {"c": 4}, "d": "text"}
    assert replaced(value, lambda number: number + 10, int) == {"a": (11, (2.0, 13)), "b": {"c": 14}, "d": "text"}


def test_all_tensors_of_nested_values_are_found() -> None:
    a, b, c = (torch.zeros(1) for _ in range(3))
    found = tensors_in((a, [1, {"x": b}], "text", None, {"y": (c,)}))
    assert [id(each) for each in found] == [id(each) for each in (a, b, c)]
    assert tensors_in(3) == []


def test_three_values_are_merged_where_they_differ_in_integers_alone() -> None:
    rows, columns = ([each[axis] for each in (SMALL, TALLER, WIDER)] for axis in (0, 1))
    assert merged(*((1, each, "x") for each in rows)) == (1, Size(rows=1), "x")
    assert merged(*({"a": each} for each in columns)) == {"a": Size(columns=1)}
    for values in (((1, 2), (1,), (1, 2)), ({"a": 1}, {"b": 1}, {"a": 1}), (1.0, 2.0, 3.0), ("a", "b", "a")):
        with pytest.raises(NotTraceable):
            merged(*values)


def test_tensors_are_merged_where_they_are_equal() -> None:
    a = torch.arange(3)
    assert merged(a, a, a) is a
    assert merged(a, a.clone(), a.clone()) is a
    for other in (a + 1, torch.arange(4)):
        with pytest.raises(NotTraceable):
            merged(a, a, other)
        with pytest.raises(NotTraceable):
            merged(a, other, a)


@pytest.mark.parametrize("place", [1, 2])
def test_calls_are_merged_where_function_and_dtype_agree(place: int) -> None:
    call = Call(torch.neg, (Ref(0),), {}, (1, 2), FP32)
    assert merged_calls(call, call, call) == call
    for other in (Call(torch.exp, (Ref(0),), {}, (1, 2), FP32), Call(torch.neg, (Ref(0),), {}, (1, 2), torch.float16)):
        with pytest.raises(NotTraceable):
            merged_calls(*(other if i == place else call for i in range(3)))


def test_a_recorder_knows_the_results_of_its_calls_only() -> None:
    x = torch.zeros(2)
    with Recorder(x) as recorder:
        made = x + 1
        other = torch.ones(2)
    assert recorder.index_of(x) == 0 and recorder.index_of(made) == 1 and recorder.index_of(other) is None
    assert (made + 1 is not None) and len(recorder.calls) == 2  # nothing is written down any more
