"""Tone and colour bias say what was planted."""

import pytest
import torch

from vaekit.metrics.lab_bias import lab_bias
from vaekit.metrics.tone import tone


@pytest.fixture
def luma() -> torch.Tensor:
    return torch.rand(2, 60, 80, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def test_a_gain_and_an_offset_are_told(luma: torch.Tensor) -> None:
    found = tone(luma, 0.9 * luma + 10 / 127.5)
    torch.testing.assert_close(found.slope, torch.full((2,), 0.9))
    torch.testing.assert_close(found.range, torch.full((2,), 0.9))
    for got, share in ((found.white, 0.99), (found.black, 0.01)):
        ends = luma.flatten(1).quantile(share, dim=1)
        torch.testing.assert_close(got, 10 - 12.75 * ends, atol=0.05, rtol=0)


def test_noise_is_no_contrast(luma: torch.Tensor) -> None:
    noise = 0.3 * torch.randn(luma.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(tone(luma, luma + noise).slope, torch.ones(2), atol=0.02, rtol=0)


def test_a_flat_picture_has_no_contrast_to_keep() -> None:
    flat = torch.zeros(1, 8, 8)
    assert tone(flat, flat).slope.isnan().all()
    assert tone(flat, flat + 0.1).range.isinf().all() or tone(flat, flat + 0.1).range.isnan().all()


def test_a_turn_of_hue_and_a_loss_of_chroma_are_told() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, 3, 16, 16, generator=generator) * 20 + torch.tensor([50.0, 10, -5]).view(1, 3, 1, 1)
    angle = torch.deg2rad(torch.tensor(4.0))
    a, b = first[:, 1], first[:, 2]
    turned = torch.stack([first[:, 0] + 3, a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], 1)
    turned[:, 1:] *= 0.85
    found = lab_bias(first, turned)
    torch.testing.assert_close(found.hue, torch.tensor([4.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.chroma, torch.tensor([-15.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.lightness, torch.tensor([3.0]), atol=1e-3, rtol=0)


def test_grey_pictures_have_no_hue() -> None:
    grey = torch.zeros(1, 3, 4, 4)
    assert lab_bias(grey, grey + 1).hue.isnan().all()
    assert lab_bias(grey, grey + 1).chroma.isnan().all()
