"""Properties of steps: rows, bytes, and how they run."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.runtime.streaming.ir import Input, Step
from vaekit.runtime.streaming.operations import SAME_ROW, Apply, Moments, Normalize, Slot, Total, Window

SILU = Apply(F.silu, (Slot(0),))


def step(shape: tuple[int, ...], axis: int | None, rows: int, dtype: torch.dtype = torch.float32) -> Step:
    return Step(SILU, (Input(0, SAME_ROW),), shape, dtype, axis, rows)


@pytest.mark.parametrize(
    ("value", "unit", "nbytes", "bytes_per_row"),
    [
        (step((1, 4, 6, 5), 2, 6), 1, 480, 80),
        (step((1, 4, 30), 2, 6), 5, 480, 80),  # rows and columns merged
        (step((1, 30, 4), 1, 6, torch.float16), 5, 240, 40),
        (step((6, 4), 0, 6, torch.float64), 1, 192, 32),
        (step((3, 2), None, 0, torch.float64), 0, 48, 0),
        (step((1, 4, 0, 5), 2, 0), 0, 0, 0),
    ],
    ids=["map", "merged", "transposed", "first axis", "no rows", "empty"],
)
def test_sizes_of_a_value(value: Step, unit: int, nbytes: int, bytes_per_row: int) -> None:
    assert (value.nbytes, value.bytes_per_row) == (nbytes, bytes_per_row)
    if value.rows or value.axis is None:
        assert value.unit == unit
    assert value.nbytes == torch.zeros(value.shape, dtype=value.dtype).nbytes


@pytest.mark.parametrize(
    ("operation", "windows", "reduces", "whole"),
    [
        (None, (), False, False),
        (SILU, (SAME_ROW,), False, False),
        (SILU, (None,), False, True),
        (SILU, (None, None), False, True),
        (SILU, (Window(kernel=3), None), False, False),
        (Normalize(None, None, 1e-5), (SAME_ROW, None), False, False),
        (Moments(2), (SAME_ROW,), True, False),
        (Moments(2), (None,), True, False),
        (Total(Apply(Tensor.sum, (Slot(0), 2))), (SAME_ROW,), True, False),
    ],
)
def test_how_a_step_is_run(operation: object, windows: tuple[Window | None, ...], reduces: bool, whole: bool) -> None:
    inputs = tuple(Input(i, window) for i, window in enumerate(windows))
    made = Step(operation, inputs, (1, 2, 3, 4), torch.float32, 2, 3)  # type: ignore[arg-type]
    assert (made.reduces, made.whole) == (reduces, whole)


def test_some_rows_have_the_shape_of_the_value_but_for_their_axis() -> None:
    plane = Step(None, (), (1, 4, 6, 5), torch.float32, 2, 6)
    merged = Step(None, (), (1, 30, 4), torch.float32, 1, 6)  # five positions per row
    assert plane.shape_of(2) == (1, 4, 2, 5)
    assert merged.shape_of(2) == (1, 10, 4) and merged.shape_of(6) == merged.shape
