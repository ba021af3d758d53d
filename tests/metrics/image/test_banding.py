"""Levels lost to fewer bits."""

import pytest
import torch

from vaekit.metrics.image.banding import banding
from vaekit.testcards.dead_leaves import dead_leaves


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert banding(image, image).item() == 0


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_levels_lost_to_fewer_bits(bits: int) -> None:
    x = dead_leaves(1, (192, 256), torch.Generator().manual_seed(3))
    steps = 2**bits - 1
    y = ((x + 1) / 2 * steps).round() / steps * 2 - 1
    assert banding(x, y).item() == pytest.approx(100 * (1 - 2**bits / 256), abs=6)
    assert banding(x, 0.8 * x).item() < 20
