"""Spectra and the detail that is read off them, where theory says what must come out."""

import math

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.metrics.image.detail import detail, octave_edges
from vaekit.metrics.image.spectra import spectra


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    planes = 0.5 * noise(2, 600, 800)
    found = spectra(planes, planes)
    inner = found.radius > 0.05
    assert found.x[:, inner].mean().item() == pytest.approx(0.25, rel=0.02)
    assert found.x[0, inner].std().item() < 0.08
    torch.testing.assert_close(found.x, found.cross)
    assert found.cross_imaginary.abs().max() < 1e-4


def test_power_adds_up_to_the_variance() -> None:
    tile = torch.zeros(1, 64, 64) + torch.sin(2 * math.pi * 10 / 64 * torch.arange(64.0))
    found = spectra(tile, tile, 64)
    # A sine of amplitude 1 has variance 1/2; a mean over all frequencies of the plane is the variance (Parseval).
    total = (found.x * found.multiplicity).sum() / found.multiplicity.sum()
    assert total.item() == pytest.approx(0.5, rel=0.01)
    assert found.multiplicity.sum() == 64 * 64


@pytest.mark.parametrize("sides", [(128, 128), (129, 200), (37, 300), (512, 768), (16, 16)])
def test_any_size_and_one_by_one(sides: tuple[int, int]) -> None:
    x, y = noise(3, *sides), noise(3, *sides, seed=1)
    together = detail(x, y)
    alone = detail(x[1:2], y[1:2])
    torch.testing.assert_close(together.power_ratio[1:2], alone.power_ratio, equal_nan=True)
    torch.testing.assert_close(together.coherence[1:2], alone.coherence, equal_nan=True, atol=1e-5, rtol=1e-4)


def test_octaves_that_a_small_image_has_not_are_nan() -> None:
    found = detail(noise(1, 16, 16), noise(1, 16, 16))
    assert found.power_ratio[0].isnan().tolist() == [False, False, False, True, True]


def test_a_gaussian_blur_keeps_what_its_transfer_function_says() -> None:
    x, sigma = noise(1, 512, 512), 1.0
    places = torch.arange(-8.0, 9)
    kernel = torch.exp(-places.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    y = F.conv2d(F.pad(x[None], (8, 8, 8, 8), "circular"), kernel.view(1, 1, 1, -1))
    y = F.conv2d(y, kernel.view(1, 1, -1, 1))[0]
    found = detail(x, y)
    for octave, (low, high) in enumerate(octave_edges()):
        radius = torch.linspace(low, high, 1000)
        squared = (-4 * math.pi**2 * sigma**2 * radius.square()).exp()
        expected = (squared * radius).sum() / radius.sum()
        assert found.power_ratio[0, octave].item() == pytest.approx(expected.item(), rel=0.12, abs=1e-3), octave
    assert found.coherence[0, 2:].min() > 0.97


def test_detail_that_was_made_up_has_power_and_no_coherence() -> None:
    x, other = noise(1, 512, 512), noise(1, 512, 512, seed=1)
    found = detail(x, other)
    torch.testing.assert_close(found.power_ratio, torch.ones(1, 5), atol=0.1, rtol=0)
    assert found.coherence[0, :4].max() < 0.05
    half = detail(x, x + other)
    torch.testing.assert_close(half.power_ratio[0, :4], torch.full((4,), 2.0), atol=0.25, rtol=0)
    torch.testing.assert_close(half.coherence[0, :4], torch.full((4,), 0.5), atol=0.08, rtol=0)
    torch.testing.assert_close(half.kept[0, :4], torch.ones(4), atol=0.12, rtol=0)


def test_flat_images_keep_all_that_they_do_not_have() -> None:
    flat = torch.zeros(1, 200, 200)
    torch.testing.assert_close(detail(flat, flat + 0.1).kept, torch.ones(1, 5), atol=1e-3, rtol=0)
    speckled = detail(flat, 0.1 * noise(1, 200, 200))
    assert (speckled.power_ratio > 100).all()
    assert (speckled.coherence < 0.05).all()


def test_a_large_image_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = noise(1, 300, 300), noise(1, 300, 300, seed=1)
    whole = spectra(x, y)
    monkeypatch.setattr("vaekit.metrics.image.spectra.AT_ONCE", 1)
    pieces = spectra(x, y)
    torch.testing.assert_close(whole.x, pieces.x)
    torch.testing.assert_close(whole.cross_imaginary, pieces.cross_imaginary)
