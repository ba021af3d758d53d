"""What became of each level."""

import pytest
import torch

from vaekit.metrics.image.levels import LOWEST, MOST_NOISE, level_curve, noise_of


def test_what_became_of_each_level() -> None:
    x = torch.arange(256).float().repeat(20, 1)
    curve = level_curve(x, (x * 0.5).floor())
    assert curve.median[-LOWEST : 256 - LOWEST].tolist() == [level // 2 for level in range(256)]
    assert curve.agreed[-LOWEST : 256 - LOWEST].tolist() == [1] * 256
    assert curve.count[-LOWEST : 256 - LOWEST].tolist() == [20] * 256


def test_noise_is_measured_beside_changes_of_tone_and_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.linspace(30, 200, 128).repeat(128, 1)
    x[40:80, 40:80] += 50
    for level in (0.0, 1.0, 2.0, 3.0):
        y = 0.8 * x + 20 + level * torch.randn(x.shape, generator=generator)
        assert noise_of(x, y) == pytest.approx(level, abs=0.1)
    assert noise_of(x, x + 30 * torch.randn(x.shape, generator=generator)) == MOST_NOISE


def test_agreement_allows_for_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.full((100, 100), 90.0)
    y = x + 3 * torch.randn(x.shape, generator=generator)
    narrow, wide = (level_curve(x, y, noise).agreed[90 - LOWEST].item() for noise in (0.0, 3.0))
    assert narrow < 0.5 < 0.7 < wide
