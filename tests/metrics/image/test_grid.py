"""Periodic grids of any factor."""

import math

import pytest
import torch
from degraded_images import gaussian
from refusals import refuses

from vaekit.metrics.image.grid import find_grid, grid


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert grid(image, image).item() == 0


@pytest.mark.parametrize("factor", [4, 8, 16, 12])
def test_the_amplitude_of_a_grid_of_any_factor(image: torch.Tensor, factor: int) -> None:
    wave = 2 / 127.5 * torch.cos(torch.arange(256) * 2 * math.pi / factor)
    assert grid(image, image + wave, factor).item() == pytest.approx(2, rel=0.02)
    assert grid(image, gaussian(image, 1), factor).item() < 0.5


def test_the_period_is_the_shortest_that_explains_it() -> None:
    for period in (8, 16, 32):
        lines = (torch.arange(256) % period == 0).float().expand(256, 256)
        found = find_grid(torch.fft.rfft2(3 * lines), (256, 256))
        assert found.period == period
        assert found.amplitude == pytest.approx(math.sqrt(2) * 3 * lines.std(correction=0).item(), rel=0.01)


def test_too_small_for_a_grid_and_a_wrong_factor() -> None:
    x = torch.zeros(1, 3, 24, 24)
    assert grid(x, x).isnan().all()
    with refuses(ValueError, "2"):
        grid(x, x, 1)
