"""Terms about the latents: closed forms, loops, and the identity between the three parts of the KL."""

import math

import pytest
import torch
from refusals import refuses
from torch import Generator, Tensor, nn

from vaekit.distributions import (
    Always,
    DiagonalGaussian,
    GaussianMixture,
    Normal,
    Point,
    Prior,
    StandardNormal,
    UniformCodes,
)
from vaekit.errors import BadRecipe
from vaekit.training.objectives import Objective, Pass
from vaekit.training.terms.latents import pair_weights, squared_discrepancy
from vaekit.training.terms.table import TERMS, dimension_kl, kl, mmd, mutual_information, total_correlation
from vaekit.training.weights import Weight, weight_from
from vaekit.vae import VAE

SHAPES = [(3,), (3, 2, 2)]


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def saying(mean: Tensor, log_variance: Tensor, prior: Prior | None = None) -> Pass:
    """A pass whose posterior is this."""
    moments = torch.cat([mean, log_variance], dim=1)
    head = Always(StandardNormal() if prior is None else prior)
    vae = VAE(nn.Identity(), DiagonalGaussian.from_moments, nn.Identity(), Normal, to_prior=head)
    return Pass(vae, moments, 0, seeded())


def some(shape: tuple[int, ...], count: int = 8, prior: Prior | None = None) -> Pass:
    mean, log_variance = (torch.randn(count, *shape, generator=seeded(seed)) for seed in (1, 2))
    return saying(mean, log_variance - 1, prior)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("estimate", ["weighted", "stratified"])
@pytest.mark.parametrize("learned", [False, True])
def test_the_three_parts_of_the_kl_sum_to_its_estimate(shape: tuple[int, ...], estimate: str, learned: bool) -> None:
    prior = (
        GaussianMixture.even(torch.randn(4, *shape, generator=seeded()), torch.zeros(4, *shape)) if learned else None
    )
    seen = some(shape, prior=prior)
    parts = [term(50, estimate).compute(seen) for term in (mutual_information, total_correlation, dimension_kl)]
    expected = seen.posterior.log_prob(seen.z) - seen.prior.log_prob(seen.z)
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), expected)


def test_where_the_batch_is_all_data_the_density_is_the_true_mixture() -> None:
    seen = some((2,), count=6)
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
    together = total_correlation(400).compute(saying(line.expand(400, 2), narrow)).mean()
    apart = total_correlation(400).compute(saying(torch.randn(400, 2, generator=seeded(3)), narrow)).mean()
    assert together > 3 * apart > 0


def test_a_posterior_that_says_nothing_shares_nothing() -> None:
    seen = saying(torch.zeros(10, 4), torch.zeros(10, 4))
    for term in (mutual_information, total_correlation, dimension_kl):
        torch.testing.assert_close(term(1000, "stratified").compute(seen), torch.zeros(10), atol=2e-5, rtol=0)


def test_terms_of_one_pass_share_what_they_look_at() -> None:
    seen = some((3,))
    mutual_information(50).compute(seen)
    kept = dict(seen.shared)
    total_correlation(50).compute(seen)
    assert seen.shared == kept and len(kept) == 1
    total_correlation(60).compute(seen)
    assert len(seen.shared) == 2


def test_a_beta_tcvae_weighs_the_middle_part() -> None:
    seen = some((3,))
    terms = {name: TERMS[name](items=50) for name in ("mutual_information", "total_correlation", "dimension_kl")}
    weights = {name: Weight.constant(6.0 if name == "total_correlation" else 1.0) for name in terms}
    losses = Objective(terms, weights)(seen.vae, seen.x, 0, seeded())
    said = losses.parts
    expected = said["mutual_information"] + 6 * said["total_correlation"] + said["dimension_kl"]
    torch.testing.assert_close(losses.total, expected)
    assert losses.fidelity == 0


def test_a_batch_of_more_than_all_is_refused() -> None:
    with pytest.raises(BadRecipe):
        total_correlation(50).compute(some((3,), count=60))


def test_points_have_no_total_correlation() -> None:
    vae = VAE(nn.Identity(), Point, nn.Identity(), Normal, to_prior=Always(StandardNormal()))
    with refuses(BadRecipe, "Point"):
        total_correlation(50).compute(Pass(vae, torch.zeros(4, 3), 0, seeded()))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_free_nats_of_each_group(shape: tuple[int, ...]) -> None:
    seen = some(shape)
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
    kl(free_nats=0.5, groups="each").compute(saying(mean, torch.zeros(4, 2))).backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 3 / 4]]).expand(4, 2))


def test_free_nats_of_parts_need_a_kl_that_has_parts() -> None:
    prior = GaussianMixture.even(torch.zeros(2, 3), torch.zeros(2, 3))
    assert kl(free_nats=0.5).compute(some((3,), prior=prior)).isfinite()
    with refuses(BadRecipe, "GaussianMixture"):
        kl(free_nats=0.5, groups="each").compute(some((3,), prior=prior))


def test_capacity_grows_with_the_samples() -> None:
    seen = some((3,))
    plain = seen.posterior.kl(seen.prior)
    grown = kl(capacity=Weight(((0, 0.0), (1000, 25.0))))
    for samples, capacity in ((0, 0.0), (500, 12.5), (5000, 25.0)):
        seen.samples = samples
        torch.testing.assert_close(grown.compute(seen), (plain - capacity).abs())
    torch.testing.assert_close(kl(capacity=Weight.constant(2.0)).compute(seen), (plain - 2).abs())


def test_warm_up_and_cycles_are_weights() -> None:
    seen = some((3,))
    warm_up = weight_from([[0, 0.0], [1000, 1.0]])
    cyclic = weight_from([[0, 0.0], [500, 1.0]], period=1000)
    for weight, told in ((warm_up, {0: 0, 250: 0.25, 9000: 1}), (cyclic, {250: 0.5, 700: 1, 1250: 0.5, 2000: 0})):
        for samples, factor in told.items():
            losses = Objective({"kl": kl()}, {"kl": weight})(seen.vae, seen.x, samples, seeded())
            assert losses.total.item() == pytest.approx(factor * seen.posterior.kl(seen.prior).mean().item())


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_discrepancy_is_that_of_a_loop(kernel: str) -> None:
    seen = some((2, 2, 1), count=5)
    found = mmd(kernel, scales=[0.5, 2.0]).compute(seen)
    a = seen.z.flatten(1)
    seen = some((2, 2, 1), count=5)
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
    assert mmd(kernel).compute(saying(torch.full((50, 3), 1.0), torch.zeros(50, 3))) > 4 * same.std()


def alike(seed: int) -> Pass:
    """Latents that are drawn from the prior."""
    seen = saying(torch.zeros(20, 3), torch.zeros(20, 3))
    seen.generator = seeded(seed)
    return seen


def test_the_discrepancy_works_for_points_and_reaches_the_encoder() -> None:
    x = torch.randn(6, 3, generator=seeded()).requires_grad_()
    vae = VAE(nn.Identity(), Point, nn.Identity(), Normal, to_prior=Always(StandardNormal()))
    mmd().compute(Pass(vae, x, 0, seeded())).backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()


def test_a_prior_over_codes_cannot_be_drawn_from() -> None:
    with refuses(BadRecipe, "UniformCodes"):
        mmd().compute(some((3,), prior=UniformCodes(4)))


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
