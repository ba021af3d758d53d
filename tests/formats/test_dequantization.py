"""Stored values times their scales, and the rotation of int8 "convrot" weights."""

import pytest
import torch

from vaekit.formats.dequantization import (
    block_size,
    can_rotate,
    dequantized,
    hadamard,
    rotated_back,
    scale_shape,
)

WEIGHT = torch.arange(16 * 4 * 2).float().reshape(16, 4, 2).sub(60)


@pytest.mark.parametrize("scale", [torch.tensor(0.5), torch.tensor([0.5]), torch.full((1, 1, 1), 0.5)], ids=str)
def test_one_scale_is_that_of_all_weights(scale: torch.Tensor) -> None:
    assert torch.equal(dequantized(WEIGHT, scale), WEIGHT * 0.5)


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_scales_of_rows_are_those_of_output_channels(axes: int) -> None:
    scale = torch.arange(1.0, 17)
    expected = WEIGHT * scale[:, None, None]
    assert torch.equal(dequantized(WEIGHT, scale.view(-1, *[1] * axes)), expected)


def test_scales_of_blocks_may_have_the_axes_of_the_weight_or_of_its_matrix() -> None:
    scale = torch.arange(1.0, 9).reshape(4, 2)
    expected = WEIGHT * scale.repeat_interleave(4, 0).repeat_interleave(2, 1)[:, :, None]
    assert torch.equal(dequantized(WEIGHT, scale[:, :, None]), expected)
    assert torch.equal(dequantized(WEIGHT, scale), expected)
    rows = WEIGHT.flatten(1)
    assert torch.equal(dequantized(rows, scale), expected.flatten(1))
    assert torch.equal(dequantized(rows, scale[:, :, None]), expected.flatten(1))  # (rows, blocks, 1)


def test_the_last_block_may_be_smaller() -> None:
    values = torch.ones(10, 3)
    scale = torch.tensor([[1.0], [2.0], [3.0]])
    assert dequantized(values, scale, block=4)[:, 0].tolist() == [1] * 4 + [2] * 4 + [3] * 2
    assert dequantized(values, scale)[:, 0].tolist() == [1] * 4 + [2] * 4 + [3] * 2


def test_8_bit_values_of_any_kind_are_scaled() -> None:
    for dtype in (torch.int8, torch.float8_e4m3fn, torch.float8_e5m2):
        assert dequantized(torch.tensor([[2.0, -4.0]]).to(dtype), torch.tensor(0.25)).tolist() == [[0.5, -1.0]]


@pytest.mark.parametrize(
    ("size", "count", "stated", "expected"),
    [
        (256, 2, None, 128),
        (96, 3, None, 32),
        (200, 2, 128, 128),
        (12, 12, None, 1),
        (12, 1, None, 12),
        (96, 2, None, None),  # 48, or 64 and 32
        (200, 2, None, None),  # 100, or 128 and 72
        (200, 2, 64, None),
        (7, 3, None, None),
        (4, 5, None, None),
        (4, 0, None, None),
    ],
)
def test_block_sizes_are_never_guessed(size: int, count: int, stated: int | None, expected: int | None) -> None:
    assert block_size(size, count, stated) == expected


@pytest.mark.parametrize(
    ("shape", "scale"), [((8, 4), (5,)), ((), (2,)), ((8, 4), (8, 4, 2)), ((8, 4, 3, 3), (8, 4, 2)), ((0, 4), (0,))]
)
def test_other_shapes_do_not_tell(shape: tuple[int, ...], scale: tuple[int, ...]) -> None:
    assert scale_shape(shape, scale) is None or 0 in shape


@pytest.mark.parametrize("size", [4, 16, 64])
def test_the_rotation_is_regular_and_its_own_inverse(size: int) -> None:
    matrix = hadamard(size)
    assert torch.equal(matrix, matrix.T)
    torch.testing.assert_close(matrix @ matrix, torch.eye(size))
    assert torch.equal(matrix.sum(0), torch.ones(size))  # what "regular" means, unlike Sylvester's
    assert torch.equal(matrix.abs(), torch.full((size, size), size**-0.5))


def test_input_channels_are_rotated_at_each_position_of_the_kernel() -> None:
    weight = torch.randn(5, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    turned = torch.stack([weight[:, :, i, j].view(5, 2, 16) @ hadamard(16) for i in range(3) for j in range(3)], -1)
    torch.testing.assert_close(rotated_back(weight, 16), turned.reshape(5, 32, 3, 3))
    torch.testing.assert_close(rotated_back(rotated_back(weight, 4), 4), weight)


@pytest.mark.parametrize("group", [0, 2, 8, 12, 64, 1 << 20])
def test_only_powers_of_four_that_divide_the_channels_rotate(group: int) -> None:
    assert not can_rotate((8, 48), group)
    assert can_rotate((8, 48), 16)
    assert not can_rotate((16,), 16)
