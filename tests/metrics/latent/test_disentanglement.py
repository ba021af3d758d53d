"""The mutual information gap: one for one latent to each factor, zero where latents share or say nothing."""

import math

import pytest
import torch
from sklearn.metrics import mutual_info_score

from vaekit.metrics.latent.disentanglement import binned, mutual_information, mutual_information_gap


@pytest.fixture
def factors() -> torch.Tensor:
    return torch.randint(4, (4000, 2), generator=torch.Generator().manual_seed(0))


def test_one_latent_for_each_factor_is_one(factors: torch.Tensor) -> None:
    noise = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1))
    latents = torch.cat([factors.float() * 10, noise], dim=1)
    assert mutual_information_gap(latents, factors).score == pytest.approx(1, abs=0.03)


def test_a_factor_told_twice_has_no_gap(factors: torch.Tensor) -> None:
    latents = factors[:, [0, 0, 1]].float()
    assert mutual_information_gap(latents, factors).by_factor == pytest.approx((0, 1), abs=0.01)


def test_latents_that_say_nothing_score_nothing(factors: torch.Tensor) -> None:
    assert mutual_information_gap(torch.zeros(4000, 3), factors).score == 0


def test_mutual_information_is_that_of_scikit_learn(factors: torch.Tensor) -> None:
    other = (factors[:, 0] + factors[:, 1]).long()
    expected = mutual_info_score(factors[:, 0].numpy(), other.numpy())
    assert mutual_information(factors[:, 0], other) == pytest.approx(expected, rel=1e-9)


def test_bins_are_even_and_hold_the_ends() -> None:
    assert binned(torch.linspace(0, 1, 21), 20).tolist() == [*range(20), 19]
    assert binned(torch.full((3,), 2.0), 20).tolist() == [0, 0, 0]


def test_a_latent_of_two_factors_scores_by_the_one_it_tells_most() -> None:
    both = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    latents = torch.stack([both[:, 0] * 4.0 + both[:, 1], torch.zeros(16)], dim=1)
    gap = mutual_information_gap(latents, both, bins=16)
    assert gap.information[0].tolist() == pytest.approx([math.log(4)] * 2)
