"""Lowering rules: the rows that torch functions need."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.lowering import CallContext, Lowering, NotByRows, Value, fused, selected, without_ellipsis
from vaekit.runtime.streaming.operations import (
    CONVOLUTIONS,
    SAME_ROW,
    TRANSPOSED,
    Apply,
    Convolve,
    ConvolveTransposed,
    Moments,
    Normalize,
    Operation,
    Pad,
    Slot,
    Total,
    Window,
)
from vaekit.runtime.streaming.tracing import Size, Trace, replaced


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
    """Reshapes: rows stay contiguous if the product of the axes before them is unchanged. Without columns, a split of
    their axis groups rows, and merging it with the next one divides them."""
    (value,) = context.values()
    if value.axis is None or context.axis is None:
        raise NotByRows
    if math.prod(value.shape[: value.axis]) != math.prod(context.shape[: context.axis]):
        raise NotByRows
    rows = context.shape[context.axis]
    if not context.lowering.has_columns and value.rows == value.shape[value.axis] != rows:
        return regrouped(context, value.rows, rows, returns_view=True)
    return context.local(returns_view=True)


def regrouped(context: CallContext, before: int, after: int, returns_view: bool = False) -> Value:
    """Each row becomes several, or several become one.

    Raises:
        NotByRows: neither number of rows is a multiple of the other.
    """
    several, rest = divmod(max(before, after), max(1, min(before, after)))
    if rest:
        raise NotByRows
    window = Window(enlarge=several) if after > before else Window(kernel=several, stride=several)
    return context.local({0: window}, rows=after, returns_view=returns_view)


def moving(context: CallContext) -> Value:
    """Permuted, added or removed axes."""
    return context.local(returns_view=True)


def along(place: int, returns_view: bool = False, default: int | None = None) -> Callable[[CallContext], Value]:
    """Functions along an axis, which must not be that of the rows."""

    def rule(context: CallContext) -> Value:
        dim = context.argument(place, "dim", default)
        for value in context.values():
            axes = dim if isinstance(dim, tuple) else (dim,)
            if not all(isinstance(each, int) for each in axes):
                raise NotByRows
            if value.axis is not None and value.axis in [each % len(value.shape) for each in axes]:
                raise NotByRows
        return context.local(returns_view=returns_view)

    return rule


def selecting(context: CallContext) -> Value:
    """Indexing with numbers and slices; along the axis of the rows, a slice takes every n-th row of a range."""
    value, index = context.values()[0], context.call.args[1]
    given = index if isinstance(index, tuple) else (index,)
    known = all(isinstance(each, int | slice | Size | EllipsisType) for each in given)
    if value.axis is None or len(context.values()) > 1 or not known:
        raise NotByRows
    return selected(context, value, replaced(without_ellipsis(given, len(value.shape)), context.lowering.at, Size))


def narrowing(context: CallContext) -> Value:
    """A range of positions along one axis."""
    (value,) = context.values()
    arguments = (context.argument(i, name) for i, name in ((1, "dim"), (2, "start"), (3, "length")))
    dim, start, length = replaced(tuple(arguments), context.lowering.at, Size)
    if not all(isinstance(each, int) for each in (dim, start, length)):
        raise NotByRows
    axis = dim % len(value.shape)
    first = start % value.shape[axis] if start < 0 else start
    return selected(context, value, (*[slice(None)] * axis, slice(first, first + length)))


def framing(context: CallContext) -> Value:
    """`unfold`: overlapping ranges of rows, one for each row of the result."""
    (value,) = context.values()
    dim, size, step = (context.argument(i, name) for i, name in ((1, "dimension"), (2, "size"), (3, "step")))
    if value.axis is None or not all(isinstance(each, int) for each in (dim, size, step)):
        raise NotByRows
    if dim % len(value.shape) != value.axis:
        return context.local(returns_view=True)
    if value.rows != value.shape[value.axis]:
        raise NotByRows
    return context.local({0: Window(kernel=size, stride=step)}, rows=context.shape[value.axis], returns_view=True)


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
    """Matrix products: by rows of the left or columns of the right factor, or of a batch; summed over the inner
    axis."""
    values = context.values()
    if len(values) != 2:
        raise NotByRows
    left, right = (from_end(value.axis, value) for value in values)
    if (left, right) == (-1, -2) and values[0].rows == values[1].rows:
        return total(context, {0: SAME_ROW, 1: SAME_ROW})
    if (left, right) in ((-2, None), (None, -1)) or (left is not None and left == right and left < -2):
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
    """Convolutions over one or two axes; the padding becomes a separate step."""
    value, weight, bias = convolved(context)
    settings = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    given = [context.argument(i, name, default) for i, name, default in settings]
    sizes = tuple(weight.shape[2:])
    stride, dilation = (along_axes(each, len(sizes)) for each in (given[0], given[2]))
    if given[1] == "same":
        reach = [step * (size - 1) for step, size in zip(dilation, sizes, strict=True)]
        amounts = [(each // 2, each - each // 2) for each in reach]
    else:
        amounts = [(each, each) for each in along_axes(0 if given[1] == "valid" else given[1], len(sizes))]
    source = rows_third(context, value)
    order = axes_order(value)
    stride, dilation = order(stride), order(dilation)
    if any(map(any, amounts)):
        flat = tuple(each for pair in reversed(order(amounts)) for each in pair)
        source = padded(context.lowering, source, flat, "constant", 0.0, context.call.dtype)
    kernel = weight.detach() if value.axis == 2 else weight.detach().transpose(2, 3)
    window = Window(kernel=dilation[0] * (kernel.shape[2] - 1) + 1, stride=stride[0])
    operation = Convolve(kernel, bias, stride, dilation, context.argument(6, "groups", 1))
    return with_weight(context, operation, Input(source.step, window), weight, value)


def transposed_convolution(context: CallContext) -> Value:
    """Transposed convolutions over one or two axes."""
    value, weight, bias = convolved(context)
    settings = ((3, "stride", 1), (4, "padding", 0), (5, "output_padding", 0), (7, "dilation", 1))
    order, axes = axes_order(value), weight.dim() - 2
    stride, padding, more, dilation = (
        order(along_axes(context.argument(i, name, default), axes)) for i, name, default in settings
    )
    groups = context.argument(6, "groups", 1)
    kernel = weight.detach() if value.axis == 2 else weight.detach().transpose(2, 3)
    operation = ConvolveTransposed(kernel, bias, stride, padding, more, groups, dilation, value.rows)
    given = Input(rows_third(context, value).step, operation.window)
    return with_weight(context, operation, given, weight, value)


def convolved(context: CallContext) -> tuple[Value, Tensor, Tensor | None]:
    """The map, the weight and the bias of a convolution.

    Raises:
        NotByRows: the map has no rows, or other axes than the kernel.
    """
    value = context.lowering.value(context.argument(0, "input"))
    weight, bias = context.argument(1, "weight"), context.argument(2, "bias")
    if not isinstance(weight, Tensor) or weight.dim() != len(value.shape) or not map_of_rows(value):
        raise NotByRows
    return value, weight, None if bias is None else bias.detach()


def rows_third(context: CallContext, value: Value) -> Value:
    """The map with rows along its third axis: a step that swaps rows and columns if they are the other way round."""
    return value if value.axis == 2 else swapped(context.lowering, value, context.call.dtype)


def swapped(lowering: Lowering, value: Value, dtype: torch.dtype) -> Value:
    """A step that swaps the axes of rows and columns of a map."""
    shape, axis = (*value.shape[:2], *value.shape[:1:-1]), 2 if value.axis == 3 else 3
    operation = Apply(Tensor.transpose, (Slot(0), 2, 3), returns_view=True)
    return lowering.add(operation, (Input(value.step, SAME_ROW),), shape, dtype, axis, value.rows)


def axes_order(value: Value) -> Callable[[Any], Any]:
    """A function that puts a setting for each axis in the order of the axes after `rows_third`."""
    return lambda each: each if value.axis == 2 else each[::-1]


def along_axes(given: Any, axes: int) -> tuple[int, ...]:
    """A setting of a convolution for each axis.

    Raises:
        NotByRows: it depends on the size of the item.
    """
    values = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(each, int) for each in values):
        raise NotByRows
    return values if len(values) == axes else values * axes


def with_weight(context: CallContext, operation: Operation, given: Input, weight: Tensor, value: Value) -> Value:
    """A step with rows along the third axis, and the label of the layer with this weight; its result has rows along the
    same axis as a value."""
    label, shape = context.lowering.label(weight), context.shape
    shape = shape if value.axis == 2 else (*shape[:2], *shape[:1:-1])
    result = context.lowering.add(operation, (given,), shape, context.call.dtype, 2, shape[2], label)
    return result if value.axis == 2 else swapped(context.lowering, result, context.call.dtype)


def map_of_rows(value: Value) -> bool:
    """Whether a value is a map (1, c, h, w) or (1, c, t) with a row for each position of its third or fourth axis."""
    return len(value.shape) in (3, 4) and value.axis in (2, 3) and value.rows == value.shape[value.axis]


def padded(
    lowering: Lowering, value: Value, amounts: tuple[int, ...], mode: str, number: float, dtype: torch.dtype
) -> Value:
    """A step that pads a map: the last axis first, as in `torch.nn.functional.pad`."""
    operation = Pad(amounts, mode, number, value.rows)
    sums = [sum(amounts[i : i + 2]) for i in range(0, len(amounts), 2)]
    shape = (*value.shape[:2], *(size + more for size, more in zip(value.shape[2:], reversed(sums), strict=True)))
    return lowering.add(operation, (Input(value.step, operation.window),), shape, dtype, 2, shape[2])


def cropped(context: CallContext, value: Value, amounts: tuple[int, ...]) -> tuple[Value, tuple[int, ...]]:
    """A step that removes rows and columns where amounts of padding are negative, and the amounts that remain."""
    pairs = reversed([amounts[i : i + 2] for i in range(0, len(amounts), 2)])
    index = [slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(pairs, value.shape[2:], strict=True)]
    shape = (*value.shape[:2], *(max(0, each.stop - each.start) for each in index))
    here = dataclasses.replace(context, shape=shape)
    return selected(here, value, (slice(None), slice(None), *index)), tuple(max(0, each) for each in amounts)


def padding(context: CallContext) -> Value:
    """Padding of rows and columns of a map; or of other axes, which is the same for all rows."""
    value = context.lowering.value(context.argument(0, "input"))
    amounts, mode, number = (
        context.argument(i, name, default)
        for i, name, default in ((1, "pad", ()), (2, "mode", "constant"), (3, "value", 0))
    )
    axes = len(value.shape) - 2
    known = all(isinstance(each, int) for each in amounts)
    if known and len(amounts) <= 2 * axes and map_of_rows(value) and mode in ("constant", "reflect", "replicate"):
        full = (*amounts, *[0] * (2 * axes - len(amounts)))
        if min(full) < 0:
            value, full = cropped(context, value, full)
        flat = full if value.axis == 2 else (*full[2:], *full[:2])
        source = rows_third(context, value)
        result = padded(context.lowering, source, flat, mode, float(number or 0), context.call.dtype)
        return result if value.axis == 2 else swapped(context.lowering, result, context.call.dtype)
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
    if isinstance(scale, tuple) and len(set(scale)) == 1:
        scale = scale[0]
    if (
        not map_of_rows(value)
        or context.argument(3, "mode", "nearest") != "nearest"
        or context.argument(1, "size") is not None
    ):
        raise NotByRows
    if not isinstance(scale, float | int) or scale != int(scale):
        raise NotByRows
    assert value.axis is not None
    return context.local({0: Window(enlarge=int(scale))}, rows=context.shape[value.axis])


def shuffling(context: CallContext) -> Value:
    """Pixel shuffle and unshuffle."""
    (value,) = context.values()
    if value.axis is None or context.axis != value.axis or value.rows != value.shape[value.axis]:
        raise NotByRows
    return regrouped(context, value.rows, context.shape[context.axis])


def repeating(context: CallContext) -> Value:
    """Repetition of each position along an axis."""
    (value,), repeats, dim = context.values(), context.argument(1, "repeats"), context.argument(2, "dim")
    if value.axis is None or not isinstance(dim, int) or dim % len(value.shape) != value.axis:
        return along(2)(context)
    if value.rows != value.shape[value.axis] or not isinstance(repeats, int):
        raise NotByRows
    return regrouped(context, value.rows, context.shape[value.axis])


def last_axis(context: CallContext) -> Value:
    """Functions of all values along the last axes, whose number is that of `normalized_shape`; one for a matrix."""
    value, given = context.lowering.value(context.argument(0, "input")), context.argument(1, "normalized_shape")
    axes = len(given) if isinstance(given, tuple) else 1
    if value.axis is None or value.axis >= len(value.shape) - axes or len(context.values()) > 1:
        raise NotByRows
    return context.local()


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
    operation = Normalize(weight, bias, epsilon)
    return context.lowering.add(operation, inputs, context.shape, context.call.dtype, value.axis, value.rows, label)


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
    **any_of(elementwise, torch.sin, T.sin, torch.cos, T.cos, T.reciprocal, torch.reciprocal, T.log, torch.log),
    **any_of(elementwise, T.__pow__, T.__rpow__, torch.pow),
    **any_of(elementwise, T.log, torch.log, T.log10, torch.log10, T.log1p, torch.log1p, torch.abs, T.clamp_min),
    **any_of(elementwise, T.gt, T.ge, T.lt, T.le, T.__gt__, T.__ge__, T.__lt__, T.__le__),
    **any_of(elementwise, T.round, torch.round, torch.where, torch.maximum, torch.minimum, F.selu, F.mish, F.prelu),
    **any_of(elementwise, torch.tanh, T.tanh, F.tanh, torch.sigmoid, T.sigmoid, F.sigmoid, torch.exp, T.pow),
    **any_of(reshaping, T.flatten, torch.flatten, T.reshape, torch.reshape, T.view, T.unflatten, torch.unflatten),
    **any_of(moving, T.transpose, torch.transpose, T.permute, torch.permute, T.movedim, torch.movedim),
    **any_of(moving, MATRIX_TRANSPOSE, T.squeeze, torch.squeeze, T.unsqueeze, torch.unsqueeze),
    **any_of(along(1, returns_view=True), T.unbind, torch.unbind),
    **any_of(along(2, returns_view=True), T.chunk, torch.chunk, T.split, torch.split),
    **any_of(along(1), T.mean, torch.mean),
    **any_of(along(1, default=0), torch.cat, torch.stack, torch.concat),
    **any_of(along(1, default=-1), F.glu),
    **any_of(along(1), F.softmax, torch.softmax, T.softmax),
    **any_of(along(2), F.normalize),
    **any_of(repeating, T.repeat_interleave, torch.repeat_interleave),
    **any_of(last_axis, F.linear, F.layer_norm, F.rms_norm),
    **any_of(selecting, T.__getitem__),
    **any_of(narrowing, T.narrow, torch.narrow),
    **any_of(framing, T.unfold),
    **any_of(sums, T.sum, torch.sum),
    **any_of(product, T.matmul, T.__matmul__, torch.matmul, torch.bmm, T.bmm),
    **any_of(attention, F.scaled_dot_product_attention),
    **any_of(convolution, *CONVOLUTIONS),
    **any_of(transposed_convolution, *TRANSPOSED),
    **any_of(padding, F.pad),
    **any_of(upsampling, F.interpolate),
    **any_of(shuffling, F.pixel_shuffle, F.pixel_unshuffle),
    **any_of(group_norm, F.group_norm),
    **any_of(batch_norm, F.batch_norm),
}
