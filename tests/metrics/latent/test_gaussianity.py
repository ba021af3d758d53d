"""Distances from N(0, I) and dimensions, against closed forms."""

import math

import pytest
import torch
from torch import Generator, Tensor

from vaekit.metrics.latent.gaussianity import components, effective_dimension, kl_to_standard_normal
from vaekit.metrics.latent.moments import moments_of


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(noise(size, size, seed=9)).Q


def test_samples_of_the_prior_are_at_distance_0_within_sampling_error() -> None:
    found = moments_of(noise(20_000, 6))
    assert kl_to_standard_normal(found.mean, found.covariance) < 3 * (6 + 3) / (4 * 20_000)
    assert kl_to_standard_normal(torch.zeros(3), torch.eye(3)) == 0


@pytest.mark.parametrize(("mean", "std"), [(0.0, 2.0), (1.5, 1.0), (-2.0, 0.1)])
def test_a_planted_mean_and_scale_have_the_closed_form(mean: float, std: float) -> None:
    wanted = (std**2 + mean**2 - 1 - math.log(std**2)) / 2
    for size in (1, 5):
        found = kl_to_standard_normal(torch.full((size,), mean), std**2 * torch.eye(size))
        assert found == pytest.approx(wanted)
    sampled = moments_of(mean + std * noise(100_000, 3))
    assert kl_to_standard_normal(sampled.mean, sampled.covariance) == pytest.approx(wanted, rel=0.02)


def test_rotation_changes_neither_distance_nor_dimension() -> None:
    scales = torch.tensor([3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    rows = noise(400, 4) * scales + 1
    plain, turned = moments_of(rows), moments_of(rows @ rotation(4))
    one, other = (kl_to_standard_normal(each.mean, each.covariance) for each in (plain, turned))
    assert one == pytest.approx(other)
    assert effective_dimension(plain.covariance) == pytest.approx(effective_dimension(turned.covariance))
    assert components(plain.covariance) == components(turned.covariance)


def test_scale_changes_the_distance_and_not_the_dimension() -> None:
    covariance = moments_of(noise(400, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])).covariance
    assert effective_dimension(9 * covariance) == pytest.approx(effective_dimension(covariance))
    assert kl_to_standard_normal(torch.zeros(4), 9 * covariance) > kl_to_standard_normal(torch.zeros(4), covariance)


def test_the_dimension_of_a_planted_covariance() -> None:
    values = torch.tensor([4.0, 2.0, 1.0, 0.01], dtype=torch.float64)
    turn = rotation(4)
    covariance = turn @ torch.diag(values) @ turn.T
    assert effective_dimension(covariance) == pytest.approx((values.sum() ** 2 / (values**2).sum()).item())
    assert components(covariance) == 3
    assert components(torch.eye(4)) == 4
    assert effective_dimension(torch.eye(7)) == pytest.approx(7)


def test_without_variance() -> None:
    assert math.isinf(kl_to_standard_normal(torch.zeros(2), torch.zeros(2, 2)))
    assert math.isnan(effective_dimension(torch.zeros(2, 2)))
