"""The shape of planted paths."""

import math

import pytest
import torch
from torch import Generator

from vaekit.metrics.latent.path_shape import path_shape, trimmed


def test_a_linear_decoder_makes_a_straight_and_even_path() -> None:
    generator = Generator().manual_seed(0)
    weights, ends = torch.randn(50, 6, generator=generator).double(), torch.randn(2, 6, generator=generator).double()
    t = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    found = path_shape(((1 - t) * ends[0] + t * ends[1]) @ weights.T + 3)
    assert found.ratio == pytest.approx(1, abs=1e-12)
    assert found.turn == pytest.approx(0, abs=1e-5)
    assert found.jump == pytest.approx(1)


@pytest.mark.parametrize("steps", [2, 8, 64])
def test_a_half_circle(steps: int) -> None:
    angle = torch.linspace(0, math.pi, steps + 1, dtype=torch.float64)
    found = path_shape(torch.stack([angle.cos(), angle.sin()], dim=1))
    assert found.ratio == pytest.approx(steps * math.sin(math.pi / 2 / steps))
    assert found.turn == pytest.approx(180 / steps)


def test_a_single_jump() -> None:
    path = torch.zeros(9, 4)
    path[5:] = 1
    assert path_shape(path).jump == pytest.approx(8)
    assert path_shape(path).ratio == 1


def test_a_path_that_goes_nowhere_has_no_shape() -> None:
    assert math.isnan(path_shape(torch.ones(5, 3)).ratio)


def test_the_ends_of_a_distribution_are_trimmed() -> None:
    values = [float(value) for value in range(1000)]
    assert (min(trimmed(values)), max(trimmed(values))) == (9, 990)
    assert trimmed([]) == []
    assert trimmed([5.0]) == [5.0]
