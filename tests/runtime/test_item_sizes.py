"""Sizes of items: checks, padding and cropping."""

import pytest
import torch
from refusals import refuses

from vaekit.errors import BadItem, LatentMismatch
from vaekit.geometry import Geometry
from vaekit.runtime.item_sizes import check_items, check_positions, cropped, pad_end, repeat_edge

ANY = Geometry(3, 4, (8, 8))
FIXED = Geometry(1, 10, (32, 32), size=(32, 32))


def test_padding_repeats_the_last_position_and_is_cropped_again() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    padded = repeat_edge(x, (3, 5))
    assert padded[0, 0].tolist() == [[0, 1, 2, 2, 2], [3, 4, 5, 5, 5], [3, 4, 5, 5, 5]]
    assert torch.equal(cropped(padded, (2, 3)), x)
    assert repeat_edge(x, (2, 3)) is x


def test_padding_with_zeros() -> None:
    assert pad_end(torch.ones(1, 1, 2), (4,), "zeros").flatten().tolist() == [1, 1, 0, 0]
    assert pad_end(torch.ones(1, 1, 2), (4,), "edge").flatten().tolist() == [1] * 4


@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 3, 8, 8), (1, 3, 8, 8, 8)])
def test_what_is_no_batch_is_a_mistake_of_the_program(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_items(torch.zeros(shape), ANY)


def test_other_channels_and_sizes_are_refused() -> None:
    check_items(torch.zeros(1, 3, 9, 17), ANY)
    with refuses(BadItem, 4):
        check_items(torch.zeros(1, 4, 8, 8), ANY)
    with refuses(BadItem, "32x32"):
        check_items(torch.zeros(1, 1, 28, 28), FIXED)


def test_latents_of_another_size_than_the_fixed_one_are_refused() -> None:
    check_positions(torch.zeros(1, 4, 5, 6), ANY)
    check_positions(torch.zeros(2, 10, 1, 1), FIXED)
    with refuses(LatentMismatch, 10):
        check_positions(torch.zeros(2, 10, 2, 1), FIXED)
