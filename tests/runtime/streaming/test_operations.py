"""Row windows and row-wise operations, compared with the operation on the whole map."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from influence import rows_that_matter
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.operations import (
    SAME_ROW,
    Apply,
    Convolve,
    ConvolveTransposed,
    Moments,
    Normalize,
    Operation,
    Pad,
    PerRow,
    Slot,
    Total,
    Window,
    inside,
)

ROWS = 6


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def ranges(rows: int) -> list[tuple[int, int]]:
    """All ranges a..b of so many rows that are not empty."""
    return list(itertools.combinations(range(rows + 1), 2))


def clipped(window: Window, a: int, b: int, rows: int) -> tuple[int, int]:
    """The rows a window names for output rows a..b, cut off at the ends of a map of so many."""
    first, end = (max(0, min(row, rows)) for row in (window.first(a), window.end(b)))
    return first, max(first, end)


# Window


def convolved(kernel: int, stride: int, padding: int, dilation: int) -> Callable[[Tensor], Tensor]:
    weight = random(2, 2, kernel, 3, seed=1)
    return lambda x: F.conv2d(x, weight, None, stride, padding, dilation)


WINDOWS: dict[str, tuple[Callable[[Tensor], Tensor], Window]] = {
    "1x1": (convolved(1, 1, 0, 1), SAME_ROW),
    "3x3": (convolved(3, 1, 1, 1), Window(kernel=3, before=1)),
    "3x3, no padding": (convolved(3, 1, 0, 1), Window(kernel=3)),
    "stride 2": (convolved(3, 2, 1, 1), Window(kernel=3, stride=2, before=1)),
    "stride 3, wide kernel": (convolved(5, 3, 2, 1), Window(kernel=5, stride=3, before=2)),
    "even kernel": (convolved(4, 2, 1, 1), Window(kernel=4, stride=2, before=1)),
    "enlarged": (lambda x: F.interpolate(x, scale_factor=2.0), Window(enlarge=2)),
    "enlarged threefold": (lambda x: F.interpolate(x, scale_factor=3.0), Window(enlarge=3)),
    "stride 2, then enlarged": (
        lambda x: F.interpolate(convolved(3, 2, 1, 1)(x), scale_factor=2.0),
        Window(kernel=3, stride=2, before=1, enlarge=2),
    ),
    "shuffled": (lambda x: F.pixel_shuffle(x.repeat(1, 2, 1, 1), 2), Window(enlarge=2)),
    "unshuffled": (lambda x: F.pixel_unshuffle(x, 2), Window(kernel=2, stride=2)),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_window_names_the_rows_an_output_row_depends_on(name: str) -> None:
    function, window = WINDOWS[name]
    for row, needed in enumerate(rows_that_matter(function, random(1, 2, 12, 12))):
        assert needed == list(range(*clipped(window, row, row + 1, 12))), row


def test_dilated_window_spans_the_outermost_kernel_rows() -> None:
    window = Window(kernel=5, before=2)
    for row, needed in enumerate(rows_that_matter(convolved(3, 1, 2, 2), random(1, 2, 9, 9))):
        a, b = clipped(window, row, row + 1, 9)
        assert set(needed) == {each for each in (row - 2, row, row + 2) if 0 <= each < 9}
        assert a <= needed[0] and needed[-1] < b


@pytest.mark.parametrize("window", [window for _, window in WINDOWS.values()])
def test_window_of_a_range_joins_those_of_its_rows(window: Window) -> None:
    for a, b in ranges(9):
        rows = [each for row in range(a, b) for each in range(window.first(row), window.end(row + 1))]
        assert (window.first(a), window.end(b)) == (min(rows), max(rows) + 1)


# Apply


def test_apply_puts_inputs_and_row_counts_in_their_places() -> None:
    received: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def function(*args: Any, **kwargs: Any) -> Tensor:
        received.append((args, kwargs))
        return torch.zeros(1)

    kwargs = {"size": {"rows": PerRow(1)}, "like": Slot(1)}
    first, second = torch.zeros(1), torch.ones(1)
    Apply(function, (Slot(1), (7, [PerRow(3), Slot(0)])), kwargs).run((2, 6), [first, second])
    ((args, named),) = received
    assert args[0] is second and named["like"] is second
    assert args[1][1][1] is first
    assert (args[1][0], args[1][1][0], named["size"]) == (7, 12, {"rows": 4})


def test_reshape_with_sizes_per_row_fits_any_range_of_rows() -> None:
    x = random(1, 2, ROWS, 5)
    operation = Apply(Tensor.reshape, (Slot(0), (1, 2, PerRow(5))))
    for a, b in ranges(ROWS):
        made = operation.run((a, b), [x[:, :, a:b]])
        assert torch.equal(made, x.flatten(2)[:, :, 5 * a : 5 * b])


IN_PLACE = {
    "silu": (Apply(F.silu, (Slot(0),)), 1),
    "relu": (Apply(F.relu, (Slot(0),)), 1),
    "torch.relu": (Apply(torch.relu, (Slot(0),)), 1),
    "+": (Apply(Tensor.__add__, (Slot(0), Slot(1))), 2),
    "add": (Apply(torch.add, (Slot(0), Slot(1))), 2),
}


@pytest.mark.parametrize(("name", "place"), [(name, i) for name, (_, n) in IN_PLACE.items() for i in range(n)])
def test_overwrite_gives_what_run_gives_in_the_memory_of_one_input(name: str, place: int) -> None:
    operation, count = IN_PLACE[name]
    assert operation.can_overwrite
    given = [random(1, 2, 3, 4, seed=i) for i in range(count)]
    before = [each.clone() for each in given]
    expected = operation.run((0, 3), given)
    made = operation.overwrite(given, place)
    assert torch.equal(made, expected)
    assert made.data_ptr() == given[place].data_ptr()
    assert all(torch.equal(given[i], before[i]) for i in range(count) if i != place)


@pytest.mark.parametrize(
    "operation",
    [
        Apply(Tensor.sub, (Slot(0), Slot(1))),
        Apply(Tensor.add, (Slot(0), 1.0)),
        Apply(Tensor.add, (Slot(1), Slot(0))),
        Apply(torch.add, (Slot(0), Slot(1)), {"alpha": 2}),
        Apply(F.gelu, (Slot(0),)),
    ],
)
def test_other_functions_are_not_written_over_an_input(operation: Apply) -> None:
    assert not operation.can_overwrite


# Convolve


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("relu", [False, True])
def test_convolved_rows_are_those_of_the_whole_map(stride: int, dilation: int, groups: int, relu: bool) -> None:
    padded, weight, bias = random(1, 4, 13, 9), random(6, 4 // groups, 3, 3, seed=1), random(6, seed=2)
    operation = Convolve(weight, bias, (stride, 1), (dilation, 1), groups, relu)
    window = Window(kernel=2 * dilation + 1, stride=stride)
    whole = F.conv2d(padded, weight, bias, (stride, 1), 0, (dilation, 1), groups)
    whole = whole.relu() if relu else whole
    for a, b in ranges(whole.shape[2]):
        first, end = window.first(a), window.end(b)
        assert 0 <= first < end <= 13
        made = operation.run((a, b), [padded[:, :, first:end]])
        torch.testing.assert_close(made, whole[:, :, a:b], atol=1e-5, rtol=0)


def test_convolution_leaves_its_input_as_it_is() -> None:
    x = random(1, 2, 5, 5)
    before = x.clone()
    Convolve(random(2, 2, 1, 1), None, (1, 1), (1, 1), 1, relu=True).run((0, 5), [x])
    assert torch.equal(x, before)


@pytest.mark.parametrize(("channels", "kernel", "cheap"), [(40, 1, True), (41, 1, False), (4, 3, True), (5, 3, False)])
def test_only_convolutions_of_few_products_are_cheap(channels: int, kernel: int, cheap: bool) -> None:
    assert Convolve(torch.zeros(64, channels, kernel, kernel), None, (1, 1), (1, 1), 1).cheap is cheap


# ConvolveTransposed


@pytest.mark.parametrize(
    ("stride", "padding", "more"), [(1, 0, 0), (1, 2, 0), (2, 0, 0), (2, 1, 1), (3, 0, 2), (3, 2, 0)]
)
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (4, 1), (3, 3)])
@pytest.mark.parametrize("columns", [(), (5,)])
def test_rows_of_a_transposed_convolution_are_those_of_the_whole(
    stride: int, padding: int, more: int, kernel: int, dilation: int, columns: tuple[int, ...]
) -> None:
    if dilation * (kernel - 1) + 1 + more <= 2 * padding:
        return  # a map of one row would have none
    weight, bias = random(4, 3, kernel, *[2] * len(columns)), random(6, seed=1)
    axes = 1 + len(columns)
    strides, paddings, extras, dilations = (
        (first, *[other] * len(columns)) for first, other in ((stride, 2), (padding, 1), (more, 1), (dilation, 2))
    )
    function = F.conv_transpose2d if columns else F.conv_transpose1d
    for offset in (None, bias):
        x = random(1, 4, ROWS, *columns)
        whole = function(x, weight, offset, strides, paddings, extras, 2, dilations)
        operation = ConvolveTransposed(weight, offset, strides, paddings, extras, 2, dilations, ROWS)
        window, rows = operation.window, whole.shape[2]
        assert window.enlarge == stride and whole.dim() == 2 + axes
        for a in range(0, rows, stride):
            for b in (min(a + stride, rows), min(a + 3 * stride, rows), rows):
                first, end = clipped(window, a, b, ROWS)
                made = operation.run((a, b), [x[:, :, first:end]])
                torch.testing.assert_close(made, whole[:, :, a:b], atol=1e-5, rtol=0)


# Pad


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (2, 1, 0, 1), (0, 0, 2, 2), (1, 1, 3, 1), (0, 2, 0, 0)])
def test_padded_rows_made_alone_are_those_of_the_whole(mode: str, amounts: tuple[int, int, int, int]) -> None:
    x = random(1, 2, ROWS, 5)
    value = 2.5 if mode == "constant" else 0.0
    whole = F.pad(x, amounts, mode=mode, value=value)
    operation = Pad(amounts, mode, value, ROWS)
    for a, b in ranges(whole.shape[2]):
        first, end = clipped(operation.window, a, b, ROWS)
        assert torch.equal(operation.run((a, b), [x[:, :, first:end]]), whole[:, :, a:b]), (a, b)


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (0, 0, 2, 2), (1, 1, 3, 1)])
def test_pad_window_holds_all_rows_that_matter(mode: str, amounts: tuple[int, int, int, int]) -> None:
    window = Pad(amounts, mode, 0.0, ROWS).window
    for row, needed in enumerate(rows_that_matter(lambda x: F.pad(x, amounts, mode=mode), random(1, 1, ROWS, 5))):
        assert set(needed) <= set(range(*clipped(window, row, row + 1, ROWS))), row


def test_constant_padding_reads_one_row_and_mirrored_padding_reads_the_reach_of_both_ends() -> None:
    amounts = (1, 1, 2, 3)
    assert Pad(amounts, "constant", 0.0, 9).window == Window(kernel=1, before=2)
    assert Pad(amounts, "replicate", 0.0, 9).window == Window(kernel=6, before=5)
    assert Pad(amounts, "reflect", 0.0, 9).window == Window(kernel=11, before=8)


@pytest.mark.parametrize("mode", ["replicate", "reflect"])
def test_rows_beyond_the_ends_stand_for_rows_inside(mode: str) -> None:
    numbers = torch.arange(5.0).view(1, 1, 5, 1)
    expected = F.pad(numbers, (0, 0, 3, 3), mode=mode).flatten().int().tolist()
    assert [inside(row, 5, mode) for row in range(-3, 8)] == expected


# Moments, Normalize, Total


def exact_moments(x: Tensor, groups: int) -> Tensor:
    """Count, mean and sum of squared differences in float64, (3, groups)."""
    flat = x.double().view(groups, -1)
    mean = flat.mean(dim=1)
    count = torch.full_like(mean, flat.shape[1])
    return torch.stack([count, mean, (flat - mean[:, None]).square().sum(dim=1)])


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_of_slabs_merge_to_those_of_the_whole(groups: int, offset: float, dtype: torch.dtype) -> None:
    x = (random(1, 6, 7, 5) * torch.arange(1.0, 8.0).view(1, 1, 7, 1) + offset).to(dtype)
    operation, expected = Moments(groups), exact_moments(x, groups)
    for cuts in ([0, 7], [0, 1, 7], [0, 3, 6, 7], list(range(8))):
        slabs = [operation.run((a, b), [x[:, :, a:b]]) for a, b in itertools.pairwise(cuts)]
        assert slabs[0].shape == (3, groups) and slabs[0].dtype == torch.float64
        merged = slabs[0]
        for slab in slabs[1:]:
            merged = operation.merge(merged, slab)
        torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-5)


def test_merged_moments_do_not_depend_on_the_order() -> None:
    a, b = (exact_moments(random(1, 4, rows, 5, seed=rows) + rows, 2) for rows in (2, 5))
    torch.testing.assert_close(Moments.merge(a, b), Moments.merge(b, a), rtol=1e-12, atol=0)
    both = torch.cat([random(1, 4, rows, 5, seed=rows) + rows for rows in (2, 5)], dim=2)
    torch.testing.assert_close(Moments.merge(a, b), exact_moments(both, 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_normalized_rows_are_those_of_group_norm(affine: bool, groups: int) -> None:
    x = random(1, 6, ROWS, 5) * 3 + 1
    weight, bias = (random(6, seed=1), random(6, seed=2)) if affine else (None, None)
    whole = F.group_norm(x, groups, weight, bias, 1e-3)
    operation, moments = Normalize(weight, bias, 1e-3), exact_moments(x, groups)
    for a, b in ranges(ROWS):
        made = operation.run((a, b), [x[:, :, a:b], moments])
        torch.testing.assert_close(made, whole[:, :, a:b], atol=1e-5, rtol=1e-5)


def test_epsilon_counts_where_the_variance_is_small() -> None:
    x = random(1, 2, ROWS, 5) * 1e-3
    made = Normalize(None, None, 1e-2).run((0, ROWS), [x, exact_moments(x, 1)])
    torch.testing.assert_close(made, F.group_norm(x, 1, eps=1e-2), atol=1e-6, rtol=1e-4)


def test_large_values_are_normalized_in_half_precision() -> None:
    x = (random(1, 4, ROWS, 5) * 8000).half()  # the factor 1/8000 times a weight of 1e-4 is no fp16 number
    weight = torch.full((4,), 1e-4)
    made = Normalize(weight, None, 1e-5).run((0, ROWS), [x, exact_moments(x, 2)])
    assert made.dtype == torch.float16
    torch.testing.assert_close(made.float(), F.group_norm(x.float(), 2, weight), atol=1e-6, rtol=2e-3)


def test_sums_of_slabs_add_up_to_that_of_the_whole() -> None:
    x = random(1, 3, ROWS, 5)
    operation = Total(Apply(Tensor.sum, (Slot(0), 2)))
    total = operation.merge(operation.run((0, 2), [x[:, :, :2]]), operation.run((2, ROWS), [x[:, :, 2:]]))
    torch.testing.assert_close(total, x.sum(2))


def test_every_operation_fits_the_protocol() -> None:
    plain, wide = Apply(F.silu, (Slot(0),)), Convolve(torch.zeros(64, 64, 3, 3), None, (1, 1), (1, 1), 1)
    cheap = [plain, Pad((1, 1, 1, 1), "constant", 0.0, 4), Normalize(None, None, 1e-5)]
    costly = [wide, Moments(2), Total(plain)]
    assert all(isinstance(each, Operation) for each in (*cheap, *costly))
    assert [each.cheap for each in (*cheap, *costly)] == [True] * 3 + [False] * 3
