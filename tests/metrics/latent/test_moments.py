"""Moments of planted latents, however they are divided into items."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.metrics.latent.moments import Moments, moments_of


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_items_together_have_the_moments_of_all_vectors(offset: float) -> None:
    rows = offset + noise(600, 3).exp() * torch.tensor([1.0, 2.0, 0.1])
    moments = Moments(3)
    for part in rows.split([1, 299, 7, 293]):
        moments.add(part)
    centered = rows - rows.mean(dim=0)
    std = rows.std(dim=0, correction=0)
    torch.testing.assert_close(moments.mean, rows.mean(dim=0))
    torch.testing.assert_close(moments.covariance, centered.T @ centered / 600, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(moments.skewness, (centered / std).pow(3).mean(dim=0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(moments.kurtosis, (centered / std).pow(4).mean(dim=0) - 3, rtol=1e-6, atol=1e-9)


def test_a_gaussian_has_neither_skewness_nor_excess_kurtosis_and_others_have_theirs() -> None:
    normal = noise(100_000, 1)
    uniform = torch.rand(100_000, 1, generator=Generator().manual_seed(1), dtype=torch.float64)
    exponential = -torch.rand(100_000, 1, generator=Generator().manual_seed(2), dtype=torch.float64).log()
    found = moments_of(torch.cat([normal, uniform, exponential], dim=1))
    assert found.skewness.tolist() == pytest.approx([0, 0, 2], abs=0.1)
    assert found.kurtosis.tolist() == pytest.approx([0, -1.2, 6], abs=0.6)


def test_scale_and_offset_do_not_change_the_shape() -> None:
    rows = noise(500, 2).exp()
    plain, moved = moments_of(rows), moments_of(-3 * rows + 7)
    torch.testing.assert_close(moved.skewness, -plain.skewness)
    torch.testing.assert_close(moved.kurtosis, plain.kurtosis)


def test_a_constant_channel_has_no_shape() -> None:
    found = moments_of(torch.ones(5, 2))
    assert found.std.tolist() == [0, 0]
    assert found.skewness.isnan().all() and found.kurtosis.isnan().all()
