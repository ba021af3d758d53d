"""Likelihood, KL and distances, against closed forms."""

import pytest
import torch
from passes import gaussian_pass, random_pass
from refusals import refuses

from vaekit.distributions import DiagonalGaussian, GaussianMixture, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.training.terms.plain import kl
from vaekit.training.weights import Weight

SHAPES = [(3,), (3, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_free_nats_of_each_group(shape: tuple[int, ...]) -> None:
    seen = random_pass(shape)
    assert isinstance(seen.posterior, DiagonalGaussian)
    single = seen.posterior.elementwise_kl()
    torch.testing.assert_close(single.flatten(1).sum(dim=1), seen.posterior.kl(StandardNormal()))
    by_hand = {
        "all": max(single.flatten(1).sum(dim=1).mean().item(), 0.7),
        "channels": sum(max(single[:, c].sum().div(len(single)).item(), 0.7) for c in range(3)),
        "each": sum(max(each.item(), 0.7) for each in single.flatten(1).mean(dim=0)),
    }
    for groups, expected in by_hand.items():
        assert kl(free_nats=0.7, groups=groups).of(seen).item() == pytest.approx(expected, rel=1e-5)


def test_free_nats_cost_no_gradient_below_and_are_the_kl_above() -> None:
    mean = torch.tensor([[0.1, 3.0]]).expand(4, 2).clone().requires_grad_()
    kl(free_nats=0.5, groups="each").of(gaussian_pass(mean, torch.zeros(4, 2))).backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 3 / 4]]).expand(4, 2))


def test_free_nats_of_parts_need_a_kl_that_has_parts() -> None:
    prior = GaussianMixture.even(torch.zeros(2, 3), torch.zeros(2, 3))
    assert kl(free_nats=0.5).of(random_pass((3,), prior=prior)).isfinite()
    with refuses(BadRecipe, "GaussianMixture"):
        kl(free_nats=0.5, groups="each").of(random_pass((3,), prior=prior))


def test_capacity_grows_with_the_samples() -> None:
    seen = random_pass((3,))
    plain = seen.posterior.kl(seen.prior)
    grown = kl(capacity=Weight(((0, 0.0), (1000, 25.0))))
    for samples, capacity in ((0, 0.0), (500, 12.5), (5000, 25.0)):
        seen.samples = samples
        torch.testing.assert_close(grown.of(seen), (plain - capacity).abs())
    torch.testing.assert_close(kl(capacity=Weight.constant(2.0)).of(seen), (plain - 2).abs())
