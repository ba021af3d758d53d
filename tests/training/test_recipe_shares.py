"""Places of a weight told as shares of the whole run."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import Identity

from vaekit.distributions import Always, DiagonalGaussian, Normal, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.training.objectives import Pass
from vaekit.training.recipe import Recipe, weight_from
from vaekit.vae import VAE


def test_shares_follow_the_length_of_the_run() -> None:
    words = {"objective": {"terms": {"l1": {"weight": [["0%", 0], ["12.5 %", 1]], "period": "50%"}}}}
    for samples in (800, 8_000):
        weight = Recipe("x", {**words, "schedule": {"samples": samples}}).objective().weights["l1"]
        assert weight.points == ((0.0, 0.0), (samples / 8, 1.0)) and weight.period == samples / 2
        assert weight.at(samples // 16) == pytest.approx(0.5)


def test_numbers_stay_numbers() -> None:
    assert weight_from([[0, 1], ["50%", 0], [900, 1]], None, 1_000).points == ((0.0, 1.0), (500.0, 0.0), (900.0, 1.0))


@pytest.mark.parametrize("place", ["half", "50", "-5%", "%", None, [1]])
def test_what_is_no_share_is_told(place: object) -> None:
    recipe = Recipe("x", {"objective": {"terms": {"l1": {"weight": [[place, 1]]}}}, "schedule": {"samples": 10}})
    with pytest.raises(BadRecipe):
        recipe.objective()


def test_a_share_of_nothing_is_told() -> None:
    with pytest.raises(BadRecipe):
        Recipe("x", {"objective": {"terms": {"l1": {"weight": [["50%", 1]]}}}}).objective()


def test_a_capacity_grows_over_shares_of_the_run() -> None:
    terms = {"kl": {"capacity": [["0%", 0], ["50%", 25]]}}
    seen = Pass(
        VAE(Identity(), certain, None, Normal, to_prior=Always(StandardNormal())), torch.ones(2, 3), 250, Generator()
    )
    recipe = Recipe("x", {"objective": {"terms": terms}, "schedule": {"samples": 1_000}})
    value = recipe.objective().terms["kl"].compute(seen)
    assert value.tolist() == pytest.approx([11.0, 11.0])


def certain(_: Tensor) -> DiagonalGaussian:
    """1.5 nats of KL from N(0, 1)."""
    return DiagonalGaussian(torch.ones(2, 3), torch.zeros(2, 3))


def test_a_capacity_that_is_no_weight_is_told() -> None:
    recipe = Recipe("x", {"objective": {"terms": {"kl": {"capacity": "much"}}}, "schedule": {"samples": 10}})
    with pytest.raises(BadRecipe):
        recipe.objective()
