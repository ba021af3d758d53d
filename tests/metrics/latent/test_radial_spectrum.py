"""Spectra of planted planes: white noise is flat, blurred noise falls, a power law has its exponent."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.metrics.latent.radial_spectrum import BINS, cosine_basis, high_share, ring_power, slope


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(planes: Tensor) -> Tensor:
    power, counts = ring_power(planes)
    return (power.sum(dim=(0, 1)) / counts / (planes.shape[0] * planes.shape[1])).nan_to_num()  # of empty rings


@pytest.mark.parametrize("sides", [(4, 4), (8, 12), (15, 9)])
def test_the_transform_is_scipys(sides: tuple[int, int]) -> None:
    plane = noise(*sides)
    ours = cosine_basis(sides[0]) @ plane @ cosine_basis(sides[1]).T
    torch.testing.assert_close(ours, torch.from_numpy(np.asarray(dctn(plane.numpy(), norm="ortho"))))


@pytest.mark.parametrize("sides", [(32, 32), (48, 64)])
def test_white_noise_is_flat_at_its_variance(sides: tuple[int, int]) -> None:
    found = spectrum(3 * noise(16, 4, *sides))
    torch.testing.assert_close(found, torch.full_like(found, 9.0), rtol=0.25, atol=0)
    assert slope(found) == pytest.approx(0, abs=0.05)
    power, _ = ring_power(noise(16, 4, *sides))
    assert high_share(power.sum(dim=(0, 1))) == pytest.approx(0.75, abs=0.02)


def test_blurred_noise_falls() -> None:
    found = spectrum(F.avg_pool2d(noise(8, 4, 34, 34), 3, stride=1))
    assert slope(found) < -1
    assert found[-1] < found[0] / 10


@pytest.mark.parametrize("exponent", [-1.0, -2.0, -3.0])
def test_a_power_law_has_its_exponent(exponent: float) -> None:
    side = 64
    rows = torch.arange(side, dtype=torch.float64) / (2 * side)
    radius = (rows[:, None] ** 2 + rows**2).sqrt().clamp(min=rows[1])
    basis = cosine_basis(side)
    planes = basis.T @ (noise(8, 4, side, side) * radius ** (exponent / 2)) @ basis
    assert slope(spectrum(planes)) == pytest.approx(exponent, abs=0.2)


def test_the_mean_of_a_plane_does_not_count_and_scale_does_not_bend() -> None:
    planes = noise(2, 1, 16, 16)
    torch.testing.assert_close(spectrum(planes + 100), spectrum(planes), rtol=1e-6, atol=1e-9)
    assert slope(spectrum(5 * planes)) == pytest.approx(slope(spectrum(planes)))


def test_without_power_there_is_no_slope() -> None:
    assert math.isnan(slope(torch.zeros(BINS, dtype=torch.float64)))
