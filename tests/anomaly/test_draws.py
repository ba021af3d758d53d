"""The shared standard normal values."""

import torch

from vaekit.anomaly import draws
from vaekit.anomaly.draws import normal_draws


def test_draws_are_standard_normal_and_reproducible() -> None:
    first = normal_draws(64, 5, 0)
    normal_draws.cache_clear()
    torch.manual_seed(3)
    assert torch.equal(first, normal_draws(64, 5, 0))
    assert not torch.equal(first, normal_draws(64, 5, 1))
    assert first.mean(dim=0).abs().max() < 0.1
    assert (first.std(dim=0) - 1).abs().max() < 0.15


def test_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    normal_draws.cache_clear()
    normal_draws(8, 3, 0)
    assert torch.equal(torch.rand(3), expected)


def test_beyond_the_dimensions_of_sobol_pairs_cancel() -> None:
    many = normal_draws(5, draws.SOBOL_DIMENSIONS + 1, 0)
    assert many.shape == (5, draws.SOBOL_DIMENSIONS + 1)
    assert torch.equal(many[0], -many[1]) and torch.equal(many[2], -many[3])
