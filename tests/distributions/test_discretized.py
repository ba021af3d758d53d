"""Probabilities of levels: exact in the middle, in the tails, and at both ends."""

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import DiscretizedLogistic, DiscretizedLogisticMixture
from vaekit.distributions.discretized import log_mass

LEVELS = torch.linspace(-1, 1, 256, dtype=torch.float64)


def every_level(mean: float, scale: float) -> Tensor:
    """The log-probability of each of 256 levels."""
    return log_mass(LEVELS, torch.full((256,), mean, dtype=torch.float64), scale, 256)


@pytest.mark.parametrize("scale", [1e-3, 0.01, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("mean", [-1.7, -1.0, 0.0, 0.3, 1.0, 4.0])
def test_all_levels_sum_to_one(mean: float, scale: float) -> None:
    assert every_level(mean, scale).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_it_is_the_difference_of_two_sigmoids_with_tails_at_the_ends() -> None:
    mean, scale, half = 0.2, 0.3, 1 / 255
    below, above = (torch.sigmoid((LEVELS + sign * half - mean) / scale) for sign in (-1, 1))
    below[0], above[-1] = 0, 1
    torch.testing.assert_close(every_level(mean, scale).exp(), above - below, rtol=1e-9, atol=0)


def test_far_in_the_tails_it_is_finite_and_has_gradients_in_single_precision() -> None:
    mean = torch.full((256,), -40.0, requires_grad=True)
    scale = torch.tensor(1e-3, requires_grad=True)
    told = log_mass(LEVELS.float(), mean, scale, 256)
    told.sum().backward()
    assert told.isfinite().all()
    assert mean.grad is not None and scale.grad is not None
    assert mean.grad.isfinite().all() and scale.grad.isfinite()
    exact = log_mass(LEVELS, torch.full((256,), -40.0, dtype=torch.float64), 1e-3, 256)
    torch.testing.assert_close(told.double(), exact, rtol=1e-5, atol=1e-5)


def test_samples_are_levels() -> None:
    p = DiscretizedLogistic(torch.zeros(10_000, 1), 2.0)
    steps = (p.sample(Generator().manual_seed(0)) + 1) * 127.5
    torch.testing.assert_close(steps, steps.round(), atol=2e-5, rtol=0)
    assert steps.min() == 0 and steps.max() == 255


def test_a_mixture_of_one_is_no_mixture() -> None:
    said = torch.randn(3, 6, 2, 2, generator=Generator().manual_seed(0))
    mixture = DiscretizedLogisticMixture.from_parameters(said, 1, 0.2)
    single = DiscretizedLogistic(said[:, 2:4], 0.2 * said[:, 4:].exp())
    x = single.sample(Generator().manual_seed(1))
    torch.testing.assert_close(mixture.log_prob(x), single.log_prob(x))
    torch.testing.assert_close(mixture.mode, single.mode)


def test_a_mixture_begins_spread_over_the_shades() -> None:
    mixture = DiscretizedLogisticMixture.from_parameters(torch.zeros(1, 12, 2, 2), 4, 0.1)
    assert mixture.mean[0, :, 0, 0, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]
    torch.testing.assert_close(mixture.mode, torch.zeros(1, 1, 2, 2))
