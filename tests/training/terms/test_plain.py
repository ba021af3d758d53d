"""Likelihood, KL and distances, against closed forms."""

import math

import pytest
import torch
from passes import gaussian_pass, random_pass
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import Always, DiagonalGaussian, GaussianMixture, Normal, Point, StandardNormal
from vaekit.errors import BadRecipe
from vaekit.training.objectives import Pass
from vaekit.training.terms.plain import elementwise_kl, item_means, kl, l1, lpips, mse, nll
from vaekit.training.weights import Weight
from vaekit.vae import VAE

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
        assert kl(free_nats=0.7, groups=groups).compute(seen).item() == pytest.approx(expected, rel=1e-5)


def test_free_nats_cost_no_gradient_below_and_are_the_kl_above() -> None:
    mean = torch.tensor([[0.1, 3.0]]).expand(4, 2).clone().requires_grad_()
    kl(free_nats=0.5, groups="each").compute(gaussian_pass(mean, torch.zeros(4, 2))).backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 3 / 4]]).expand(4, 2))


def test_free_nats_of_parts_need_a_kl_that_has_parts() -> None:
    prior = GaussianMixture.even(torch.zeros(2, 3), torch.zeros(2, 3))
    assert kl(free_nats=0.5).compute(random_pass((3,), prior=prior)).isfinite()
    with refuses(BadRecipe, "GaussianMixture"):
        kl(free_nats=0.5, groups="each").compute(random_pass((3,), prior=prior))


def test_capacity_grows_with_the_samples() -> None:
    seen = random_pass((3,))
    plain = seen.posterior.kl(seen.prior)
    grown = kl(capacity=Weight(((0, 0.0), (1000, 25.0))))
    for samples, capacity in ((0, 0.0), (500, 12.5), (5000, 25.0)):
        seen.samples = samples
        torch.testing.assert_close(grown.compute(seen), (plain - capacity).abs())
    torch.testing.assert_close(kl(capacity=Weight.constant(2.0)).compute(seen), (plain - 2).abs())


def decoded(x: Tensor, output: Tensor) -> Pass:
    """A pass whose result is `output`, and whose likelihood is a Gaussian around it of standard deviation 1."""

    class Says(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return output

    vae = VAE(nn.Identity(), Point, Says(), Normal, to_prior=Always(StandardNormal()))
    return Pass(vae, x, 0, Generator())


X = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
SAID = torch.tensor([[0.0, 4.0], [0.5, -1.0]])


def test_distances_are_means_over_the_values_of_an_item() -> None:
    seen = decoded(X, SAID)
    assert l1().compute(seen).tolist() == [1.5, 0.25]
    assert mse().compute(seen).tolist() == [2.5, 0.125]
    assert item_means(torch.arange(8.0).view(2, 2, 2)).tolist() == [1.5, 5.5]
    assert not (l1().nats or mse().nats or l1().latents_only)


def test_the_likelihood_is_that_of_a_gaussian_by_hand() -> None:
    expected = 0.5 * (X - SAID).square().sum(dim=1) + math.log(2 * math.pi)
    torch.testing.assert_close(nll().compute(decoded(X, SAID)), expected)
    assert nll().nats and not nll().latents_only


def test_the_divergence_from_a_standard_normal_by_hand() -> None:
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(4.0)]])
    seen = gaussian_pass(mean, log_variance)
    single = torch.tensor([[0.5, 0.5 * (4 + 4 - math.log(4) - 1)]])
    torch.testing.assert_close(elementwise_kl(seen), single)
    torch.testing.assert_close(kl().compute(seen), single.sum(dim=1))
    assert kl().nats and kl().latents_only


def test_a_perceptual_distance_is_asked_of_the_image_and_the_result_in_single_precision() -> None:
    seen = decoded(X.bfloat16(), SAID.bfloat16())
    asked = []

    def network(a: Tensor, b: Tensor) -> Tensor:
        asked.append((a.dtype, b.dtype, torch.is_autocast_enabled("cpu")))
        return (a - b).sum(dim=1)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lpips(network).compute(seen).tolist() == [-1.0, -0.5]
    assert asked == [(torch.float32, torch.float32, False)]
