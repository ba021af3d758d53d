"""Lowering rules: the rows that functions of torch need."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.lowering import CallContext, Lowering, Unknown, Value, fused
from vaekit.runtime.streaming.operations import SAME_ROW, Apply, Convolve, Moments, Normalize, Pad, Total, Window
from vaekit.runtime.streaming.tracing import Trace


def lower(trace: Trace, h: int, w: int, names: Mapping[int, str]) -> tuple[tuple[Step, ...], int]:
    """The steps of a network for a latent of h rows and w columns, and which of them makes the result."""
    lowering = Lowering(trace, h, w, names, RULES)
    return fused(lowering.steps, lowering.output)


def from_end(axis: int | None, value: Value | CallContext) -> int | None:
    """An axis counted from the last one."""
    return None if axis is None else axis - len(value.shape)


def elementwise(here: CallContext) -> Value:
    """Every number from those at the same place."""
    if any(
        value.axis is not None and from_end(value.axis, value) != from_end(here.axis, here) for value in here.values()
    ):
        raise Unknown
    return here.local()


def reshaping(here: CallContext) -> Value:
    """The same numbers in the same order: rows stay together if as many numbers come before each."""
    (value,) = here.values()
    if value.axis is None or here.axis is None:
        raise Unknown
    if math.prod(value.shape[: value.axis]) != math.prod(here.shape[: here.axis]):
        raise Unknown
    return here.local(shares=True)


def moving(here: CallContext) -> Value:
    """Axes in another order, or more or fewer of them."""
    return here.local(shares=True)


def along(place: int, shares: bool = False) -> Callable[[CallContext], Value]:
    """A function along an axis, which must not be that of the rows."""

    def rule(here: CallContext) -> Value:
        dim = here.argument(place, "dim")
        for value in here.values():
            axes = dim if isinstance(dim, tuple) else (dim,)
            if not all(isinstance(each, int) for each in axes):
                raise Unknown
            if value.axis is not None and value.axis in [each % len(value.shape) for each in axes]:
                raise Unknown
        return here.local(shares=shares)

    return rule


def selecting(here: CallContext) -> Value:
    """An index: all rows have to be taken."""
    value, index = here.values()[0], here.call.args[1]
    entries = index if isinstance(index, tuple) else (index,)
    if value.axis is None or len(here.values()) > 1 or not all(isinstance(each, int | slice) for each in entries):
        raise Unknown
    if value.axis < len(entries) and entries[value.axis] != slice(None):
        raise Unknown
    return here.local(shares=True)


def sums(here: CallContext) -> Value:
    """A sum along an axis; along that of the rows, the sum of the sums over some rows."""
    dim = here.argument(1, "dim")
    (value,) = here.values()
    if value.axis is None or not isinstance(dim, int) or dim % len(value.shape) != value.axis:
        return along(1)(here)
    return total(here, {0: SAME_ROW})


def total(here: CallContext, windows: dict[int, Window | None]) -> Value:
    """A step that adds up over rows."""
    if here.axis is not None:
        raise Unknown
    inputs = tuple(Input(value.step, windows.get(i)) for i, value in enumerate(here.values()))
    return here.to.add(Total(here.plain(0)), inputs, here.shape, here.call.dtype, None, 0)


def product(here: CallContext) -> Value:
    """A matrix product: rows of the left or columns of the right one pass through; those in between add up."""
    values = here.values()
    if len(values) != 2:
        raise Unknown
    left, right = (from_end(value.axis, value) for value in values)
    if (left, right) == (-1, -2) and values[0].rows == values[1].rows:
        return total(here, {0: SAME_ROW, 1: SAME_ROW})
    if (left, right) in ((-2, None), (None, -1)):
        return here.local()
    if (left, right) == (-2, -1) and values[0].rows == values[1].rows:
        return here.local({1: None})  # every row meets all columns
    raise Unknown


def attention(here: CallContext) -> Value:
    """Queries of some rows meet the keys and values of all."""
    axes = [from_end(value.axis, value) for value in here.values()]
    if axes != [-2, -2, -2] or len(here.call.args) > 3 or set(here.call.kwargs) - {"scale"}:
        raise Unknown
    value = here.local({1: None, 2: None})
    step = here.to.steps[value.step]
    assert isinstance(step.operation, Apply)
    dear = dataclasses.replace(step.operation, function=attended, cheap=False)
    here.to.steps[value.step] = dataclasses.replace(step, operation=dear)
    return value


def attended(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Attention that holds no more than some of its products at once: torch's does so only for channels that lie
    together in memory, and else holds every query's product with every key."""
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous(), scale=scale)


def convolution(here: CallContext) -> Value:
    """A 2-D convolution; its padding becomes a step of its own."""
    x, weight, bias = (here.argument(i, name) for i, name in enumerate(("input", "weight", "bias")))
    pair = (
        here.argument(i, name, default)
        for i, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    (sy, sx), padding, (dy, dx) = (each if isinstance(each, tuple) else (each, each) for each in pair)
    value = here.to.value(x)
    if not isinstance(weight, Tensor) or weight.dim() != 4 or not map_of_rows(value) or isinstance(padding[0], str):
        raise Unknown
    py, px = padding
    if py or px:
        value = padded(here.to, value, (px, px, py, py), "constant", 0.0, here.call.dtype)
    groups = here.argument(6, "groups", 1)
    window = Window(kernel=dy * (weight.shape[2] - 1) + 1, stride=sy)
    operation = Convolve(weight.detach(), None if bias is None else bias.detach(), (sy, sx), (dy, dx), groups)
    return here.to.add(
        operation,
        (Input(value.step, window),),
        here.shape,
        here.call.dtype,
        2,
        here.shape[2],
        here.to.label(weight),
    )


def map_of_rows(value: Value) -> bool:
    """Whether a value is a map (1, c, h, w) with its rows where they are expected."""
    return len(value.shape) == 4 and value.axis == 2 and value.rows == value.shape[2]


def padded(
    to: Lowering, value: Value, amounts: tuple[int, int, int, int], mode: str, number: float, dtype: torch.dtype
) -> Value:
    """A step that pads a map."""
    left, right, top, bottom = amounts
    batch, channels, rows, columns = value.shape
    operation = Pad(amounts, mode, number, rows)
    shape = (batch, channels, rows + top + bottom, columns + left + right)
    return to.add(operation, (Input(value.step, operation.window),), shape, dtype, 2, shape[2])


def padding(here: CallContext) -> Value:
    """Rows and columns laid around a map; other axes' padding treats all rows alike."""
    value = here.to.value(here.argument(0, "input"))
    amounts, mode, number = (
        here.argument(i, name, default)
        for i, name, default in ((1, "pad", ()), (2, "mode", "constant"), (3, "value", 0))
    )
    if len(amounts) <= 4 and map_of_rows(value) and mode in ("constant", "reflect", "replicate"):
        full = (*amounts, *[0] * (4 - len(amounts)))
        if min(full) < 0:
            raise Unknown
        return padded(here.to, value, full, mode, float(number or 0), here.call.dtype)
    if (
        mode == "constant"
        and value.axis is not None
        and not any(amounts[2 * (len(value.shape) - 1 - value.axis) :][:2])
    ):
        return here.local()
    raise Unknown


def enlargement(here: CallContext) -> Value:
    """Every position several times."""
    value = here.to.value(here.argument(0, "input"))
    scale = here.argument(2, "scale_factor")
    if (
        not map_of_rows(value)
        or here.argument(3, "mode", "nearest") != "nearest"
        or here.argument(1, "size") is not None
    ):
        raise Unknown
    if not isinstance(scale, float | int) or scale != int(scale):
        raise Unknown
    return here.local({0: Window(enlarge=int(scale))}, rows=here.shape[2])


def shuffling(here: CallContext) -> Value:
    """Channels become pixels, or pixels channels; along whichever axis the rows are."""
    (value,) = here.values()
    if value.axis is None or here.axis != value.axis or value.rows != value.shape[value.axis]:
        raise Unknown
    rows = here.shape[here.axis]
    if rows >= value.rows:
        return here.local({0: Window(enlarge=rows // value.rows)}, rows=rows)
    ratio = value.rows // rows
    return here.local({0: Window(kernel=ratio, stride=ratio)}, rows=rows)


def group_norm(here: CallContext) -> Value:
    """Statistics over all rows, then a line for each channel."""
    value = here.to.value(here.argument(0, "input"))
    groups, weight, bias, epsilon = (
        here.argument(i, name, default)
        for i, name, default in ((1, "num_groups", None), (2, "weight", None), (3, "bias", None), (4, "eps", 1e-5))
    )
    if not map_of_rows(value):
        raise Unknown
    moments = here.to.add(Moments(groups), (Input(value.step, SAME_ROW),), (3, groups), torch.float64, None, 0)
    weight, bias = (None if each is None else each.detach() for each in (weight, bias))
    inputs = (Input(value.step, SAME_ROW), Input(moments.step, None))
    label = here.to.label(here.argument(2, "weight"))
    return here.to.add(Normalize(weight, bias, epsilon), inputs, here.shape, here.call.dtype, 2, here.shape[2], label)


def batch_norm(here: CallContext) -> Value:
    """With running statistics, a line for each channel."""
    if here.argument(5, "training", False):
        raise Unknown
    return here.local()


def any_of(rule: Callable[[CallContext], Value], *functions: Any) -> dict[Any, Callable[[CallContext], Value]]:
    return dict.fromkeys(functions, rule)


T = Tensor
MATRIX_TRANSPOSE: Any = vars(torch._C.TensorBase)["mT"].__get__
RULES: dict[Any, Callable[[CallContext], Value]] = {
    **any_of(elementwise, T.add, T.__add__, T.__radd__, torch.add, T.sub, T.__sub__, T.__rsub__, torch.sub),
    **any_of(elementwise, T.mul, T.__mul__, T.__rmul__, torch.mul, T.div, T.__truediv__, T.__rtruediv__, torch.div),
    **any_of(elementwise, T.neg, T.__neg__, T.square, torch.square, T.sqrt, torch.sqrt, T.rsqrt, torch.rsqrt, T.exp),
    **any_of(elementwise, T.to, T.float, T.half, T.bfloat16, T.contiguous, T.clone, T.clamp, torch.clamp, T.abs),
    **any_of(elementwise, F.silu, F.relu, torch.relu, T.relu, F.leaky_relu, F.gelu, F.elu, F.hardswish, F.softplus),
    **any_of(elementwise, torch.tanh, T.tanh, F.tanh, torch.sigmoid, T.sigmoid, F.sigmoid, torch.exp, T.pow),
    **any_of(reshaping, T.flatten, torch.flatten, T.reshape, torch.reshape, T.view, T.unflatten, torch.unflatten),
    **any_of(moving, T.transpose, torch.transpose, T.permute, torch.permute, T.movedim, torch.movedim),
    **any_of(moving, MATRIX_TRANSPOSE, T.squeeze, torch.squeeze, T.unsqueeze, torch.unsqueeze),
    **any_of(along(1, shares=True), T.unbind, torch.unbind),
    **any_of(along(2, shares=True), T.chunk, torch.chunk, T.split, torch.split),
    **any_of(along(1), T.mean, torch.mean, torch.cat, torch.stack, torch.concat),
    **any_of(along(2), F.normalize, T.repeat_interleave, torch.repeat_interleave),
    **any_of(selecting, T.__getitem__),
    **any_of(sums, T.sum, torch.sum),
    **any_of(product, T.matmul, T.__matmul__, torch.matmul, torch.bmm, T.bmm),
    **any_of(attention, F.scaled_dot_product_attention),
    **any_of(convolution, F.conv2d, torch.conv2d),
    **any_of(padding, F.pad),
    **any_of(enlargement, F.interpolate),
    **any_of(shuffling, F.pixel_shuffle, F.pixel_unshuffle),
    **any_of(group_norm, F.group_norm),
    **any_of(batch_norm, F.batch_norm),
}
