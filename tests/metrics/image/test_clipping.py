"""Clipped values and plateaus at both ends of the range."""

import pytest
import torch

from vaekit.metrics.image.clipping import clipped_gained, plateau
from vaekit.metrics.image.levels import level_curve


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert clipped_gained(image, image).abs().sum() == 0


def test_plateaus_of_both_ends() -> None:
    x = torch.arange(256).float().repeat(20, 1)
    curve = level_curve(x, x.clamp(30, 200))
    high, low = plateau(curve, True), plateau(curve, False)
    # Levels within 1 of a plateau belong to it.
    assert (high.start, high.level, high.depth) == (199, 200, 56)
    assert (low.start, low.level, low.depth) == (31, 30, 31)
    assert high.share == pytest.approx(100 * 52 / 256)
    assert plateau(level_curve(x, x), True).share == 0


def test_clipped_shares_are_those_gained() -> None:
    x = torch.linspace(-1, 1, 100).expand(1, 3, 4, 100)
    shadows, highlights = clipped_gained(x, (x + 0.2).clamp(-1, 1))[0].tolist()
    assert shadows == 0 and highlights == pytest.approx(9, abs=1)


@pytest.mark.parametrize("level", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("end", [200, 255])
def test_noise_does_not_hide_a_plateau(level: float, end: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(320).float().repeat(60, 1)
    noise = level * torch.randn(x.shape, generator=generator)
    found = plateau(level_curve(x, (x.clamp(0, end) + noise).clamp(0, 255), level), True)
    assert (found.start, found.level) == (pytest.approx(end, abs=2), pytest.approx(end, abs=1))
    whole = x.clamp(0, 255)
    assert plateau(level_curve(whole, (whole + noise).clamp(0, 255), level), True).depth < 5


def test_a_slope_is_no_plateau_however_much_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(256).float().repeat(60, 1)
    for slope in (0.4, 0.7):
        y = 100 + slope * (x - 100) + 4 * torch.randn(x.shape, generator=generator)
        assert plateau(level_curve(x, y, 4.0), True).depth < 10
