"""Each lowering rule on the smallest function that triggers it, and on one that must stay whole."""

import math
from collections.abc import Callable

import pytest
import torch
from influence import rows_that_matter
from row_interpreter import Interpreter, input_rows, lowered, random_map
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.runtime.streaming.lowering_rules import attended
from vaekit.runtime.streaming.operations import (
    SAME_ROW,
    Apply,
    Convolve,
    ConvolveTransposed,
    Moments,
    Normalize,
    Pad,
    Total,
    Window,
)

Function = Callable[[Tensor], Tensor]
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT, BIAS = torch.randn(6, 4, 3, 3, generator=GENERATOR), torch.randn(6, generator=GENERATOR)
POINT = torch.randn(6, 4, 1, 1, generator=GENERATOR)
GROUPED = torch.randn(6, 2, 3, 3, generator=GENERATOR)
MIRRORED, LONG = (torch.randn(4, 6, rows, 3, generator=GENERATOR) for rows in (3, 4))
SCALE, SHIFT = torch.rand(4, generator=GENERATOR) + 0.5, torch.randn(4, generator=GENERATOR)
MEAN, VARIANCE = torch.randn(4, generator=GENERATOR), torch.rand(4, generator=GENERATOR) + 0.5


def positions(x: Tensor) -> Tensor:
    """(1, c, h, w) -> (1, h * w, c)."""
    return x.flatten(2).transpose(1, 2)


def linear_attention(x: Tensor) -> Tensor:
    """Keys and values are multiplied first, as in DC-AE."""
    q, k, v = x.flatten(2).chunk(2, 1)[0], torch.relu(x).flatten(2), x.flatten(2)
    return ((v @ k.transpose(1, 2)) @ torch.cat([q, q], 1)).unflatten(2, x.shape[2:])


BY_ROWS: dict[str, tuple[Function, list[type]]] = {
    "add a number": (lambda x: x + 1, [Apply]),
    "number minus map": (lambda x: 1 - x, [Apply]),
    "product with itself": (lambda x: x * x, [Apply]),
    "silu": (F.silu, [Apply]),
    "clamp": (lambda x: x.clamp(-1, 1), [Apply]),
    "cast": (lambda x: x.to(torch.float64), [Apply]),
    "times a value for each row and column": (lambda x: x * x.mean(1, keepdim=True), [Apply, Apply]),
    "flatten": (lambda x: x.flatten(2), [Apply]),
    "reshape to groups": (lambda x: x.reshape(1, 2, 2, x.shape[2], x.shape[3]), [Apply]),
    "reshape with rows and columns merged": (lambda x: x.view(1, 4, x.shape[2] * x.shape[3]), [Apply]),
    "unflatten": (lambda x: x.flatten(2).unflatten(2, x.shape[2:]), [Apply, Apply]),
    "transpose": (lambda x: x.transpose(1, 2), [Apply]),
    "permute": (lambda x: x.permute(0, 2, 3, 1), [Apply]),
    "squeeze": (lambda x: x.squeeze(0), [Apply]),
    "unsqueeze": (lambda x: x.unsqueeze(2), [Apply]),
    "mT": (lambda x: x.flatten(2).mT, [Apply, Apply]),
    "chunk of channels": (lambda x: x.chunk(2, 1)[1], [Apply, Apply]),
    "unbind of channels": (lambda x: x.unbind(1)[2], [Apply] * 4),
    "mean of channels": (lambda x: x.mean(1), [Apply]),
    "mean of channels and columns": (lambda x: x.mean((1, -1)), [Apply]),
    "cat of channels": (lambda x: torch.cat([x, x + 1], 1), [Apply, Apply]),
    "stack on a new first axis": (lambda x: torch.stack([x, x + 1]), [Apply, Apply]),
    "gated channels": (lambda x: F.glu(x, 1), [Apply]),
    "logarithm of bounded values": (lambda x: torch.log(x.clamp_min(0.1)), [Apply, Apply]),
    "choice": (lambda x: torch.where(x > 0, x, 0.5 * x), [Apply] * 3),
    "dropout in evaluation": (lambda x: F.dropout(x, 0.5, training=False) * 2, [Apply]),
    "stack": (lambda x: torch.stack([x, x], 1), [Apply]),
    "normalize channels": (lambda x: F.normalize(x, dim=1), [Apply]),
    "repeat channels": (lambda x: x.repeat_interleave(2, 1), [Apply]),
    "some channels": (lambda x: x[:, 1:3], [Apply]),
    "the only item": (lambda x: x[0], [Apply]),
    "all rows, some columns": (lambda x: x[:, :, :, 1:], [Apply]),
    "some rows": (lambda x: x[:, :, 1:], [Apply]),
    "every other row of some": (lambda x: x[:, 1:, 1:-1:2], [Apply]),
    "rows up to a part of all": (lambda x: x[:, :, : x.shape[2] - 2], [Apply]),
    "index with an ellipsis": (lambda x: x[..., 2:, 1:], [Apply]),
    "narrowed rows": (lambda x: x.narrow(2, 1, x.shape[2] - 2), [Apply]),
    "narrowed rows from the end": (lambda x: torch.narrow(x, -2, 2 - x.shape[2], x.shape[2] - 3), [Apply]),
    "narrowed columns": (lambda x: x.narrow(3, 1, 2), [Apply]),
    "frames of rows": (lambda x: x.unfold(2, 3, 2), [Apply]),
    "frames of columns": (lambda x: x.unfold(3, 2, 1), [Apply]),
    "repeated rows": (lambda x: x.repeat_interleave(3, 2), [Apply]),
    "linear": (lambda x: F.linear(x.movedim(1, -1), POINT[:, :, 0, 0]), [Apply, Apply]),
    "layer norm": (lambda x: F.layer_norm(x.movedim(1, -1), (4,), SCALE, SHIFT), [Apply, Apply]),
    "softmax of channels": (lambda x: F.softmax(x, 1), [Apply]),
    "sum of channels": (lambda x: x.sum(1), [Apply]),
    "1x1 convolution": (lambda x: F.conv2d(x, POINT, BIAS), [Convolve]),
    "3x3 convolution": (lambda x: F.conv2d(x, WEIGHT, BIAS, padding=1), [Pad, Convolve]),
    "convolution without padding": (lambda x: F.conv2d(x, WEIGHT), [Convolve]),
    "convolution with stride": (lambda x: F.conv2d(x, WEIGHT, BIAS, 2, 1), [Pad, Convolve]),
    "convolution with two strides": (lambda x: F.conv2d(x, WEIGHT, BIAS, (1, 2), (2, 0)), [Pad, Convolve]),
    "convolution with padded columns": (lambda x: F.conv2d(x, WEIGHT, BIAS, 1, (0, 1)), [Pad, Convolve]),
    "convolution with groups": (lambda x: F.conv2d(x, GROUPED, None, 1, 1, 1, 2), [Pad, Convolve]),
    "convolution with padding by name": (lambda x: F.conv2d(x, WEIGHT, padding="same"), [Pad, Convolve]),
    "convolution without padding by name": (lambda x: F.conv2d(x, WEIGHT, padding="valid"), [Convolve]),
    "negative padding": (lambda x: F.pad(x, (0, 0, -1, 1)), [Apply, Pad]),
    "transposed convolution with groups": (
        lambda x: F.conv_transpose2d(x, MIRRORED[:, :3], None, (1, 3), (0, 2), (0, 1), 2),
        [ConvolveTransposed],
    ),
    "convolution and relu": (lambda x: F.relu(F.conv2d(x, WEIGHT, padding=1)), [Pad, Convolve]),
    "constant padding": (lambda x: F.pad(x, (1, 2, 3, 1), value=2.0), [Pad]),
    "padded at the bottom": (lambda x: F.pad(x, (0, 1, 0, 1)), [Pad]),
    "padded columns": (lambda x: F.pad(x, (1, 1)), [Pad]),
    "padding of another axis": (lambda x: F.pad(x.unsqueeze(2), (0, 0, 0, 0, 2, 0)), [Apply, Apply]),
    "padding of channels": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 0)), [Apply]),
    "enlarged twofold": (lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"), [Apply]),
    "enlarged threefold": (lambda x: F.interpolate(x, scale_factor=3), [Apply]),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), [Apply]),
    "pixel unshuffle": (lambda x: F.pixel_unshuffle(F.interpolate(x, scale_factor=2.0), 2), [Apply, Apply]),
    "batch norm": (lambda x: F.batch_norm(x, MEAN, VARIANCE, SCALE, SHIFT), [Apply]),
    "down and up": (
        lambda x: F.interpolate(F.conv2d(x, WEIGHT, BIAS, 2, 1), scale_factor=2.0),
        [Pad, Convolve, Apply],
    ),
}
"""Functions whose rows are made of a window of rows."""

REDUCING: dict[str, tuple[Function, list[type]]] = {
    "replicate padding": (lambda x: F.pad(x, (1, 1, 1, 1), "replicate"), [Pad]),
    "reflect padding": (lambda x: F.pad(x, (1, 1, 2, 1), "reflect"), [Pad]),
    "convolution with even kernel": (
        lambda x: F.conv2d(x, WEIGHT[:, :, :2, :2], padding="same", dilation=2),
        [Pad, Convolve],
    ),
    "dilated convolution": (lambda x: F.conv2d(x, WEIGHT, None, 1, 2, 2), [Pad, Convolve]),
    "transposed convolution": (lambda x: F.conv_transpose2d(x, MIRRORED, BIAS, 2, 1), [ConvolveTransposed]),
    "transposed convolution of four rows": (lambda x: F.conv_transpose2d(x, LONG, None, 2, 1), [ConvolveTransposed]),
    "convolution of rows that are the last axis": (
        lambda x: F.conv2d(x.mT, WEIGHT[:, :, :2], BIAS, (1, 2), (0, 2), (1, 2)),
        [Apply, Apply, Pad, Convolve, Apply],
    ),
    "square convolution of rows that are the last axis": (
        lambda x: F.conv2d(x.mT, WEIGHT, BIAS, 1, 1),
        [Apply, Apply, Pad, Convolve, Apply],
    ),
    "other paddings of rows that are the last axis": (
        lambda x: F.pad(F.pad(x.mT, (2, 1, 0, 1), "reflect"), (-1, 1)),
        [Apply, Apply, Pad, Apply, Apply, Apply, Pad, Apply],
    ),
    "transposed convolution of rows that are the last axis": (
        lambda x: F.conv_transpose2d(x.mT, LONG, BIAS, (1, 2), (2, 1)),
        [Apply, Apply, ConvolveTransposed, Apply],
    ),
    "nearest upsampling of rows that are the last axis": (
        lambda x: F.interpolate(F.group_norm(x.mT, 2, SCALE, SHIFT), scale_factor=2),
        [Apply, Moments, Normalize, Apply],
    ),
    "dilated transposed convolution": (
        lambda x: F.conv_transpose2d(x, MIRRORED, BIAS, (2, 1), 1, (1, 0), 1, (3, 1)),
        [ConvolveTransposed],
    ),
    "transposed convolution with gaps": (
        lambda x: F.conv_transpose2d(x, MIRRORED[:, :, :1], BIAS, (3, 1), 0, (2, 0)),
        [ConvolveTransposed],
    ),
    "group norm": (lambda x: F.group_norm(x, 2, SCALE, SHIFT, 0.5), [Moments, Normalize]),
    "group norm without weights": (lambda x: F.group_norm(x, 4), [Moments, Normalize]),
    "sum of rows": (lambda x: x + x.sum(2, keepdim=True), [Total, Apply]),
    "sum of positions": (
        lambda x: x.flatten(2) * x.flatten(2).sum(-1, keepdim=True),
        [Apply, Apply, Total, Apply],
    ),
    "attention": (
        lambda x: F.scaled_dot_product_attention(positions(x), positions(x + 1), positions(x)),
        [Apply] * 8,
    ),
    "scaled attention": (
        lambda x: F.scaled_dot_product_attention(positions(x), positions(x), positions(x), scale=0.3),
        [Apply] * 7,
    ),
    "linear attention": (linear_attention, [Apply] * 7 + [Total] + [Apply] * 3),
}
"""Functions that need all rows for something, or whose windows are wider than what matters."""

WHOLE: dict[str, Function] = {
    "no rule": lambda x: torch.flip(x, (2,)),
    "columns up to a number of rows": lambda x: x[..., : x.shape[2] // 4],
    "the first rows": lambda x: x.narrow(2, 1, 3),
    "one row": lambda x: x[:, :, 1] + x[:, :, 0],
    "no rows": lambda x: x[:, :, 3:3].sum() + x,
    "softmax of rows": lambda x: x.softmax(2),
    "norm of rows and columns": lambda x: F.layer_norm(x, tuple(x.shape[2:])),
    "mean of rows": lambda x: x + x.mean(2, keepdim=True),
    "mean of everything": lambda x: x + x.mean(),
    "sum of rows and columns": lambda x: x + x.sum((2, 3), keepdim=True),
    "cat of rows": lambda x: torch.cat([x, x], 2),
    "normalized rows": lambda x: F.normalize(x, dim=2),
    "half of the rows": lambda x: x.chunk(2, 2)[0],
    "half of the rows of a transposed map": lambda x: x.transpose(2, 3).split(x.shape[2] // 2, -1)[1],
    "rows backwards": lambda x: x[:, :, torch.tensor([1, 0])],
    "columns before rows": lambda x: x.transpose(2, 3).flatten(2),
    "every other position": lambda x: x.flatten(2)[:, :, ::2],
    "rows times rows": lambda x: x[:, :, :, :1] * x.mean((1, 3))[:, None, None],
    "products of all positions": lambda x: positions(x) @ x.flatten(2),
    "causal attention": lambda x: F.scaled_dot_product_attention(
        positions(x), positions(x), positions(x), is_causal=True
    ),
    "circular padding": lambda x: F.pad(x, (1, 1, 1, 1), "circular"),
    "padding of rows that are not the third axis": lambda x: F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 0, 1, 0)),
    "rows doubled by padding": lambda x: F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 0, x.shape[2], 0)),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "nearest-exact": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"),
    "enlarged to a size": lambda x: F.interpolate(x, (2 * x.shape[2], 2 * x.shape[3])),
    "group norm of positions": lambda x: F.group_norm(x.flatten(2), 2),
    "batch norm with the statistics of its input": lambda x: F.batch_norm(x, None, None, training=True),
}
"""Functions of which at least one step is run on whole values."""


@pytest.mark.parametrize("name", BY_ROWS | REDUCING)
def test_known_functions_become_these_operations(name: str) -> None:
    function, expected = (BY_ROWS | REDUCING)[name]
    steps, output = lowered(function)
    assert [type(step.operation) for step in steps[1:]] == expected
    assert output == len(steps) - 1 or "chunk" in name or "unbind" in name
    assert not any(step.whole for step in steps)


@pytest.mark.parametrize("name", WHOLE)
def test_functions_whose_rows_are_not_known_stay_whole(name: str) -> None:
    steps, _ = lowered(WHOLE[name])
    assert any(step.whole for step in steps)
    assert not any(isinstance(step.operation, Pad | Convolve | Moments) for step in steps)  # nothing half lowered


@pytest.mark.parametrize("name", BY_ROWS | REDUCING | dict.fromkeys(WHOLE))
@pytest.mark.parametrize("slab", [1, 2, 5])
def test_rows_made_alone_are_those_of_the_whole(name: str, slab: int) -> None:
    function = WHOLE[name] if name in WHOLE else (BY_ROWS | REDUCING)[name][0]
    x = random_map(8, 4, seed=1)
    expected = function(x)
    steps, output = lowered(function)
    assert (steps[output].shape, steps[output].dtype) == (tuple(expected.shape), expected.dtype)
    running = Interpreter(steps, x, slab)
    torch.testing.assert_close(running.whole(output), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BY_ROWS)
def test_windows_name_exactly_the_rows_that_matter(name: str) -> None:
    function, _ = BY_ROWS[name]
    steps, output = lowered(function)
    axis = steps[output].axis
    assert axis is not None

    def by_rows(x: Tensor) -> Tensor:
        """The result as a map (1, 1, rows, all that is in a row)."""
        made = function(x).movedim(axis, 0)
        return made.reshape(1, 1, steps[output].rows, -1)

    for row, needed in enumerate(rows_that_matter(by_rows, random_map(8, 4, seed=1))):
        first, end = input_rows(steps, output, row, row + 1)
        assert needed == list(range(first, end)), row


@pytest.mark.parametrize("name", ["replicate padding", "reflect padding", "dilated convolution"])
def test_windows_hold_the_rows_that_matter(name: str) -> None:
    function, _ = REDUCING[name]
    steps, output = lowered(function)
    for row, needed in enumerate(rows_that_matter(function, random_map(8, 4, seed=1))):
        assert set(needed) <= set(range(*input_rows(steps, output, row, row + 1))), row


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "expected"),
    [
        (3, 1, 1, Window(kernel=3)),
        (3, 2, 1, Window(kernel=3, stride=2)),
        (5, 1, 1, Window(kernel=5)),
        (3, 1, 2, Window(kernel=5)),
        (2, 2, 3, Window(kernel=4, stride=2)),
        (1, 1, 1, SAME_ROW),
    ],
)
def test_window_of_a_convolution(kernel: int, stride: int, dilation: int, expected: Window) -> None:
    weight = torch.randn(4, 4, kernel, kernel)
    steps, output = lowered(lambda x: F.conv2d(x, weight, None, stride, 0, dilation))
    assert steps[output].inputs[0].window == expected
    # Kernel, stride and dilation along the columns must not count for rows.
    flat = torch.randn(4, 4, 1, kernel)
    steps, output = lowered(lambda x: F.conv2d(x, flat, None, (1, stride), 0, (1, dilation)))
    assert steps[output].inputs[0].window == SAME_ROW


def test_padding_of_a_convolution_is_a_step_of_its_own() -> None:
    steps, output = lowered(lambda x: F.conv2d(x, WEIGHT, BIAS, 1, (2, 0)))
    pad = steps[1].operation
    assert isinstance(pad, Pad)
    assert (pad.amounts, pad.mode, pad.value, pad.rows_in) == ((0, 0, 2, 2), "constant", 0.0, 8)
    assert (steps[1].shape, steps[1].rows) == ((1, 4, 12, 4), 12)
    assert (steps[output].shape, steps[output].rows) == ((1, 6, 10, 2), 10)


def test_attention_reads_all_keys_and_values_and_is_not_made_twice() -> None:
    function = REDUCING["attention"][0]
    steps, output = lowered(function)
    operation = steps[output].operation
    assert [each.window for each in steps[output].inputs] == [SAME_ROW, None, None]
    assert isinstance(operation, Apply) and operation.function is attended and not operation.cheap


def test_group_norm_reads_rows_of_its_input_and_its_moments_whole() -> None:
    norm = nn.GroupNorm(2, 4, eps=1e-3)
    steps, output = lowered(nn.Sequential(norm))
    assert [(each.step, each.window) for each in steps[output].inputs] == [(0, SAME_ROW), (1, None)]
    assert steps[1].operation == Moments(2)
    assert (steps[1].shape, steps[1].dtype, steps[1].axis, steps[1].rows) == ((3, 2), torch.float64, None, 0)
    operation = steps[output].operation
    assert isinstance(operation, Normalize) and operation.epsilon == 1e-3
    assert steps[output].label == "0"


def test_steps_carry_the_name_of_the_layer() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 2, 1))
    steps, _ = lowered(network)
    assert [step.label for step in steps] == ["", "", "0", "", "2"]


@pytest.mark.parametrize("function", [lambda x: x.flatten(2), lambda x: x.transpose(1, 2), lambda x: x[:, :1]])
def test_views_are_known_to_share_memory(function: Function) -> None:
    steps, output = lowered(function)
    operation = steps[output].operation
    assert isinstance(operation, Apply) and operation.returns_view


@pytest.mark.parametrize("function", [F.silu, lambda x: torch.cat([x, x], 1), lambda x: x + 1])
def test_new_values_do_not_share_memory(function: Function) -> None:
    steps, output = lowered(function)
    operation = steps[output].operation
    assert isinstance(operation, Apply) and not operation.returns_view


def test_merged_rows_and_columns_count_as_rows_of_many_positions() -> None:
    steps, output = lowered(lambda x: x.flatten(2), 8, 12)
    assert (steps[output].axis, steps[output].rows, steps[output].unit) == (2, 8, 12)
    steps, output = lowered(positions, 12, 4)
    assert (steps[output].axis, steps[output].rows, steps[output].unit) == (1, 12, 4)


def test_attention_on_views_is_torchs() -> None:
    q, k, v = (torch.randn(1, 5, 8, generator=GENERATOR).mT for _ in range(3))
    expected = F.scaled_dot_product_attention(q, k, v, scale=0.5)
    torch.testing.assert_close(attended(q, k, v, 0.5), expected)
    scale = 1 / math.sqrt(5)
    torch.testing.assert_close(attended(q, k, v), torch.softmax(q @ k.mT * scale, -1) @ v)
