"""Terms about the latents: closed forms, loops, and the identity between the three parts of the KL."""

import math

import pytest
import torch
from passes import gaussian_pass, random_pass, seeded
from refusals import refuses
from torch import Tensor, nn

from vaekit.distributions import (
    Always,
    DiagonalGaussian,
    GaussianMixture,
    Normal,
    Point,
    StandardNormal,
    UniformCodes,
)
from vaekit.errors import BadRecipe
from vaekit.training.objectives import Objective, Pass
from vaekit.training.terms.latents import pair_weights, squared_discrepancy
from vaekit.training.terms.table import TERMS, dimension_kl, mmd, mutual_information, total_correlation
from vaekit.training.weights import Weight
from vaekit.vae import VAE

SHAPES = [(3,), (3, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("estimate", ["weighted", "stratified"])
@pytest.mark.parametrize("learned", [False, True])
def test_the_three_parts_of_the_kl_sum_to_its_estimate(shape: tuple[int, ...], estimate: str, learned: bool) -> None:
    prior = (
        GaussianMixture.even(torch.randn(4, *shape, generator=seeded()), torch.zeros(4, *shape)) if learned else None
    )
    seen = random_pass(shape, prior=prior)
    parts = [term(50, estimate).compute(seen) for term in (mutual_information, total_correlation, dimension_kl)]
    expected = seen.posterior.log_prob(seen.z) - seen.prior.log_prob(seen.z)
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), expected)


def test_where_the_batch_is_all_data_the_density_is_the_true_mixture() -> None:
    seen = random_pass((2,), count=6)
    q, z = seen.posterior, seen.z
    assert isinstance(q, DiagonalGaussian)
    joint = GaussianMixture.even(q.mean, q.log_variance).log_prob(z)
    single = sum(
        GaussianMixture.even(q.mean[:, j : j + 1], q.log_variance[:, j : j + 1]).log_prob(z[:, j : j + 1])
        for j in range(2)
    )
    for estimate in ("weighted", "stratified"):
        # Minibatch weights are 1 / (N b): less by log b than those of the whole data set, once for each density.
        less = math.log(6) if estimate == "weighted" else 0
        torch.testing.assert_close(mutual_information(6, estimate).compute(seen), q.log_prob(z) - joint + less)
        torch.testing.assert_close(total_correlation(6, estimate).compute(seen), joint - single + less)


def test_stratified_weights_sum_to_one_and_weighted_are_even() -> None:
    stratified = pair_weights(5, 1000, "stratified")
    torch.testing.assert_close(stratified.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert stratified.diagonal().eq(1 / 1000).all() and (stratified[0, 1:] == 999 / 4000).all()
    assert pair_weights(5, 1000, "weighted").eq(1 / 5000).all()


def test_total_correlation_sees_what_is_not_independent() -> None:
    line = torch.randn(400, 1, generator=seeded())
    narrow = torch.full((400, 2), -6.0)
    together = total_correlation(400).compute(gaussian_pass(line.expand(400, 2), narrow)).mean()
    apart = total_correlation(400).compute(gaussian_pass(torch.randn(400, 2, generator=seeded(3)), narrow)).mean()
    assert together > 3 * apart > 0


def test_a_posterior_that_says_nothing_shares_nothing() -> None:
    seen = gaussian_pass(torch.zeros(10, 4), torch.zeros(10, 4))
    for term in (mutual_information, total_correlation, dimension_kl):
        torch.testing.assert_close(term(1000, "stratified").compute(seen), torch.zeros(10), atol=2e-5, rtol=0)


def test_terms_of_one_pass_share_what_they_look_at() -> None:
    seen = random_pass((3,))
    mutual_information(50).compute(seen)
    kept = dict(seen.shared)
    total_correlation(50).compute(seen)
    assert seen.shared == kept and len(kept) == 1
    total_correlation(60).compute(seen)
    assert len(seen.shared) == 2


def test_a_beta_tcvae_weighs_the_middle_part() -> None:
    seen = random_pass((3,))
    terms = {name: TERMS[name](items=50) for name in ("mutual_information", "total_correlation", "dimension_kl")}
    weights = {name: Weight.constant(6.0 if name == "total_correlation" else 1.0) for name in terms}
    losses = Objective(terms, weights)(seen.vae, seen.x, 0, seeded())
    said = losses.parts
    expected = said["mutual_information"] + 6 * said["total_correlation"] + said["dimension_kl"]
    torch.testing.assert_close(losses.total, expected)
    assert losses.fidelity == 0


def test_a_batch_of_more_than_all_is_refused() -> None:
    with pytest.raises(BadRecipe):
        total_correlation(50).compute(random_pass((3,), count=60))


def test_points_have_no_total_correlation() -> None:
    vae = VAE(nn.Identity(), Point, nn.Identity(), Normal, to_prior=Always(StandardNormal()))
    with refuses(BadRecipe, "Point"):
        total_correlation(50).compute(Pass(vae, torch.zeros(4, 3), 0, seeded()))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_is_that_of_a_loop(kernel: str) -> None:
    seen = random_pass((2, 2, 1), count=5)
    found = mmd(kernel, scales=[0.5, 2.0]).compute(seen)
    a = seen.z.flatten(1)
    seen = random_pass((2, 2, 1), count=5)
    assert torch.equal(seen.z.flatten(1), a)
    b = StandardNormal().sample(seen.z, seen.generator).flatten(1)

    def similar(u: Tensor, v: Tensor) -> float:
        squares = (u - v).square().sum().item()
        sizes = [2 * 4 * scale for scale in (0.5, 2.0)]
        return sum(c / (c + squares) if kernel == "imq" else math.exp(-squares / c) for c in sizes)

    pairs = [(i, j) for i in range(5) for j in range(5)]
    expected = sum((similar(a[i], a[j]) + similar(b[i], b[j])) / 20 for i, j in pairs if i != j)
    expected -= sum(2 * similar(a[i], b[j]) / 25 for i, j in pairs)
    assert found.item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_is_unbiased_and_sees_what_is_apart(kernel: str) -> None:
    same = torch.stack([mmd(kernel).compute(alike(seed)) for seed in range(300)])
    assert same.mean().abs() < 4 * same.std() / math.sqrt(300)
    assert mmd(kernel).compute(gaussian_pass(torch.full((50, 3), 1.0), torch.zeros(50, 3))) > 4 * same.std()


def alike(seed: int) -> Pass:
    """Latents that are drawn from the prior."""
    seen = gaussian_pass(torch.zeros(20, 3), torch.zeros(20, 3))
    seen.generator = seeded(seed)
    return seen


def test_the_discrepancy_works_for_points_and_reaches_the_encoder() -> None:
    x = torch.randn(6, 3, generator=seeded()).requires_grad_()
    vae = VAE(nn.Identity(), Point, nn.Identity(), Normal, to_prior=Always(StandardNormal()))
    mmd().compute(Pass(vae, x, 0, seeded())).backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()


def test_a_prior_over_codes_cannot_be_drawn_from() -> None:
    with refuses(BadRecipe, "UniformCodes"):
        mmd().compute(random_pass((3,), prior=UniformCodes(4)))


def test_equal_sets_are_no_distance_apart_at_most() -> None:
    a = torch.randn(30, 4, generator=seeded())
    assert squared_discrepancy(a, a, lambda squares: torch.exp(-squares), [1.0]) < 0


BAD_SETTINGS: list[tuple[str, dict[str, object]]] = [
    ("kl", {"free_nats": -1.0}),
    ("kl", {"free_nats": 1.0, "groups": "some"}),
    ("kl", {"free_nats": 1.0, "capacity": Weight.constant(2.0)}),
    ("mmd", {"kernel": "cubic"}),
    ("mmd", {"scales": [0.0]}),
    ("total_correlation", {"items": 1}),
    ("total_correlation", {"items": 100, "estimate": "best"}),
]


@pytest.mark.parametrize(("name", "settings"), BAD_SETTINGS, ids=str)
def test_settings_that_mean_nothing_are_refused(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        TERMS[name](**settings)
