"""Lowering rules: the rows that torch functions need."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.lowering import CallContext, Lowering, NotByRows, Value, fused
from vaekit.runtime.streaming.operations import SAME_ROW, Apply, Convolve, Moments, Normalize, Pad, Total, Window
from vaekit.runtime.streaming.tracing import Trace


def lower(trace: Trace, h: int, w: int, names: Mapping[int, str]) -> tuple[tuple[Step, ...], int]:
    """The steps of a network for a latent of h rows and w columns, and the index of the step that returns the
    result."""
    lowering = Lowering(trace, h, w, names, RULES)
    return fused(lowering.steps, lowering.output)


def from_end(axis: int | None, value: Value | CallContext) -> int | None:
    """An axis as a negative index."""
    return None if axis is None else axis - len(value.shape)


def elementwise(context: CallContext) -> Value:
    """Elementwise functions."""
    if any(
        value.axis is not None and from_end(value.axis, value) != from_end(context.axis, context)
        for value in context.values()
    ):
        raise NotByRows
    return context.local()


def reshaping(context: CallContext) -> Value:
    """Reshapes: rows stay contiguous if the product of the axes before them is unchanged."""
    (value,) = context.values()
    if value.axis is None or context.axis is None:
        raise NotByRows
    if math.prod(value.shape[: value.axis]) != math.prod(context.shape[: context.axis]):
        raise NotByRows
    return context.local(returns_view=True)


def moving(context: CallContext) -> Value:
    """Permuted, added or removed axes."""
    return context.local(returns_view=True)


def along(place: int, returns_view: bool = False) -> Callable[[CallContext], Value]:
    """Functions along an axis, which must not be that of the rows."""

    def rule(context: CallContext) -> Value:
        dim = context.argument(place, "dim")
        for value in context.values():
            axes = dim if isinstance(dim, tuple) else (dim,)
            if not all(isinstance(each, int) for each in axes):
                raise NotByRows
            if value.axis is not None and value.axis in [each % len(value.shape) for each in axes]:
                raise NotByRows
        return context.local(returns_view=returns_view)

    return rule


def selecting(context: CallContext) -> Value:
    """Indexing that takes all rows."""
    value, index = context.values()[0], context.call.args[1]
    entries = index if isinstance(index, tuple) else (index,)
    if value.axis is None or len(context.values()) > 1 or not all(isinstance(each, int | slice) for each in entries):
        raise NotByRows
    if value.axis < len(entries) and entries[value.axis] != slice(None):
        raise NotByRows
    return context.local(returns_view=True)


def sums(context: CallContext) -> Value:
    """Sums along an axis; along that of the rows, partial sums are added."""
    dim = context.argument(1, "dim")
    (value,) = context.values()
    if value.axis is None or not isinstance(dim, int) or dim % len(value.shape) != value.axis:
        return along(1)(context)
    return total(context, {0: SAME_ROW})


def total(context: CallContext, windows: dict[int, Window | None]) -> Value:
    """A step that sums over rows."""
    if context.axis is not None:
        raise NotByRows
    inputs = tuple(Input(value.step, windows.get(i)) for i, value in enumerate(context.values()))
    return context.lowering.add(Total(context.plain(0)), inputs, context.shape, context.call.dtype, None, 0)


def product(context: CallContext) -> Value:
    """Matrix products: by rows of the left or columns of the right factor; summed over the inner axis."""
    values = context.values()
    if len(values) != 2:
        raise NotByRows
    left, right = (from_end(value.axis, value) for value in values)
    if (left, right) == (-1, -2) and values[0].rows == values[1].rows:
        return total(context, {0: SAME_ROW, 1: SAME_ROW})
    if (left, right) in ((-2, None), (None, -1)):
        return context.local()
    raise NotByRows


def attention(context: CallContext) -> Value:
    """Attention: the queries of some rows need the keys and values of all."""
    axes = [from_end(value.axis, value) for value in context.values()]
    if axes != [-2, -2, -2] or len(context.call.args) > 3 or set(context.call.kwargs) - {"scale"}:
        raise NotByRows
    value = context.local({1: None, 2: None})
    step = context.lowering.steps[value.step]
    assert isinstance(step.operation, Apply)
    expensive = dataclasses.replace(step.operation, function=attended, cheap=False)
    context.lowering.steps[value.step] = dataclasses.replace(step, operation=expensive)
    return value


def attended(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Attention on contiguous tensors, for which torch computes the products in parts; otherwise it would hold those of
    all queries with all keys."""
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous(), scale=scale)


def convolution(context: CallContext) -> Value:
    """2-D convolutions; the padding becomes a separate step."""
    x, weight, bias = (context.argument(i, name) for i, name in enumerate(("input", "weight", "bias")))
    pair = (
        context.argument(i, name, default)
        for i, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    (sy, sx), padding, (dy, dx) = (each if isinstance(each, tuple) else (each, each) for each in pair)
    value = context.lowering.value(x)
    if not isinstance(weight, Tensor) or weight.dim() != 4 or not map_of_rows(value) or isinstance(padding[0], str):
        raise NotByRows
    py, px = padding
    if py or px:
        value = padded(context.lowering, value, (px, px, py, py), "constant", 0.0, context.call.dtype)
    groups = context.argument(6, "groups", 1)
    window = Window(kernel=dy * (weight.shape[2] - 1) + 1, stride=sy)
    operation = Convolve(weight.detach(), None if bias is None else bias.detach(), (sy, sx), (dy, dx), groups)
    return context.lowering.add(
        operation,
        (Input(value.step, window),),
        context.shape,
        context.call.dtype,
        2,
        context.shape[2],
        context.lowering.label(weight),
    )


def map_of_rows(value: Value) -> bool:
    """Whether a value is a map (1, c, h, w) with rows along the third axis."""
    return len(value.shape) == 4 and value.axis == 2 and value.rows == value.shape[2]


def padded(
    lowering: Lowering, value: Value, amounts: tuple[int, int, int, int], mode: str, number: float, dtype: torch.dtype
) -> Value:
    """A step that pads a map."""
    left, right, top, bottom = amounts
    batch, channels, rows, columns = value.shape
    operation = Pad(amounts, mode, number, rows)
    shape = (batch, channels, rows + top + bottom, columns + left + right)
    return lowering.add(operation, (Input(value.step, operation.window),), shape, dtype, 2, shape[2])


def padding(context: CallContext) -> Value:
    """Padding of rows and columns of a map; or of other axes, which is the same for all rows."""
    value = context.lowering.value(context.argument(0, "input"))
    amounts, mode, number = (
        context.argument(i, name, default)
        for i, name, default in ((1, "pad", ()), (2, "mode", "constant"), (3, "value", 0))
    )
    if len(amounts) <= 4 and map_of_rows(value) and mode in ("constant", "reflect", "replicate"):
        full = (*amounts, *[0] * (4 - len(amounts)))
        if min(full) < 0:
            raise NotByRows
        return padded(context.lowering, value, full, mode, float(number or 0), context.call.dtype)
    if (
        mode == "constant"
        and value.axis is not None
        and not any(amounts[2 * (len(value.shape) - 1 - value.axis) :][:2])
    ):
        return context.local()
    raise NotByRows


def upsampling(context: CallContext) -> Value:
    """Nearest-neighbor upsampling by an integer factor."""
    value = context.lowering.value(context.argument(0, "input"))
    scale = context.argument(2, "scale_factor")
    if (
        not map_of_rows(value)
        or context.argument(3, "mode", "nearest") != "nearest"
        or context.argument(1, "size") is not None
    ):
        raise NotByRows
    if not isinstance(scale, float | int) or scale != int(scale):
        raise NotByRows
    return context.local({0: Window(enlarge=int(scale))}, rows=context.shape[2])


def shuffling(context: CallContext) -> Value:
    """Pixel shuffle and unshuffle."""
    (value,) = context.values()
    if value.axis is None or context.axis != value.axis or value.rows != value.shape[value.axis]:
        raise NotByRows
    rows = context.shape[context.axis]
    if rows >= value.rows:
        return context.local({0: Window(enlarge=rows // value.rows)}, rows=rows)
    ratio = value.rows // rows
    return context.local({0: Window(kernel=ratio, stride=ratio)}, rows=rows)


def group_norm(context: CallContext) -> Value:
    """Statistics over all rows, then an affine map per channel."""
    value = context.lowering.value(context.argument(0, "input"))
    groups, weight, bias, epsilon = (
        context.argument(i, name, default)
        for i, name, default in ((1, "num_groups", None), (2, "weight", None), (3, "bias", None), (4, "eps", 1e-5))
    )
    if not map_of_rows(value):
        raise NotByRows
    moments = context.lowering.add(Moments(groups), (Input(value.step, SAME_ROW),), (3, groups), torch.float64, None, 0)
    weight, bias = (None if each is None else each.detach() for each in (weight, bias))
    inputs = (Input(value.step, SAME_ROW), Input(moments.step, None))
    label = context.lowering.label(context.argument(2, "weight"))
    return context.lowering.add(
        Normalize(weight, bias, epsilon), inputs, context.shape, context.call.dtype, 2, context.shape[2], label
    )


def batch_norm(context: CallContext) -> Value:
    """With running statistics, an affine map per channel."""
    if context.argument(5, "training", False):
        raise NotByRows
    return context.local()


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
    **any_of(elementwise, torch.sin, T.sin, torch.cos, T.cos),
    **any_of(elementwise, torch.tanh, T.tanh, F.tanh, torch.sigmoid, T.sigmoid, F.sigmoid, torch.exp, T.pow),
    **any_of(reshaping, T.flatten, torch.flatten, T.reshape, torch.reshape, T.view, T.unflatten, torch.unflatten),
    **any_of(moving, T.transpose, torch.transpose, T.permute, torch.permute, T.movedim, torch.movedim),
    **any_of(moving, MATRIX_TRANSPOSE, T.squeeze, torch.squeeze, T.unsqueeze, torch.unsqueeze),
    **any_of(along(1, returns_view=True), T.unbind, torch.unbind),
    **any_of(along(2, returns_view=True), T.chunk, torch.chunk, T.split, torch.split),
    **any_of(along(1), T.mean, torch.mean, torch.cat, torch.stack, torch.concat),
    **any_of(along(2), F.normalize, T.repeat_interleave, torch.repeat_interleave),
    **any_of(selecting, T.__getitem__),
    **any_of(sums, T.sum, torch.sum),
    **any_of(product, T.matmul, T.__matmul__, torch.matmul, torch.bmm, T.bmm),
    **any_of(attention, F.scaled_dot_product_attention),
    **any_of(convolution, F.conv2d, torch.conv2d),
    **any_of(padding, F.pad),
    **any_of(upsampling, F.interpolate),
    **any_of(shuffling, F.pixel_shuffle, F.pixel_unshuffle),
    **any_of(group_norm, F.group_norm),
    **any_of(batch_norm, F.batch_norm),
}
