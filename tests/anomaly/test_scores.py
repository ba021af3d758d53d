"""Scores of single items: the exact log-likelihood of a linear VAE, determinism, other posteriors."""

import pytest
import torch
from linear_vae import linear_scorer, linear_vae, log_marginal, rows
from refusals import refuses
from torch import Tensor, nn

from vaekit.anomaly import scores as scores_module
from vaekit.anomaly.scores import ELBO, KL, LIKELIHOOD, OWN_SCORES, RECONSTRUCTION, Scorer, check_has_prior
from vaekit.distributions import Always, Bernoulli, Choices, Columns, Group, Normal, OneHot, UniformCodes
from vaekit.errors import NoPrior
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.vae import VAE


def error(draws: int) -> float:
    x = rows(200)
    return float((linear_scorer(draws).evidence(x).scores[LIKELIHOOD] - log_marginal(x)).square().mean().sqrt())


def test_the_likelihood_approaches_that_of_a_linear_vae() -> None:
    coarse, fine = error(16), error(4096)
    assert fine < 0.02 < coarse


def test_quasi_random_latents_are_better_than_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    quasi = error(64)
    random = []
    for seed in range(5):

        def drawn(count: int, dimensions: int, _: int, seed: int = seed) -> Tensor:
            return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

        monkeypatch.setattr(scores_module, "normal_draws", drawn)
        random.append(error(64))
    assert quasi < sum(random) / len(random)


def test_the_elbo_is_its_parts_and_below_the_likelihood() -> None:
    found = linear_scorer().evidence(rows(50)).scores
    assert set(found) == set(OWN_SCORES)
    assert torch.allclose(found[ELBO], found[RECONSTRUCTION] + found[KL])
    assert (found[ELBO] < found[LIKELIHOOD]).all()
    assert all(each.dtype == torch.float64 for each in found.values())


def test_scores_do_not_depend_on_batches_or_order() -> None:
    x, scorer = rows(301), linear_scorer()
    whole = scorer.evidence(x, factors=True)
    parts = [scorer.evidence(part, factors=True) for part in x.split(7)]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    shuffled = scorer.evidence(x[order], factors=True)
    assert whole.factors is not None and shuffled.factors is not None
    for name in OWN_SCORES:
        assert torch.allclose(torch.cat([each.scores[name] for each in parts]), whole.scores[name], rtol=0, atol=1e-11)
        assert torch.allclose(shuffled.scores[name], whole.scores[name][order], rtol=0, atol=1e-11)
    assert torch.allclose(shuffled.factors, whole.factors[order], rtol=0, atol=1e-11)
    assert torch.equal(scorer.latents(x), whole.latents)


def test_chunks_of_latents_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, scorer = rows(20), linear_scorer()
    once = scorer.evidence(x, factors=True)
    monkeypatch.setattr("vaekit.runtime.draws.CHUNK_VALUES", x.numel() * 5)
    often = scorer.evidence(x, factors=True)
    assert once.factors is not None and often.factors is not None
    assert all(torch.allclose(once.scores[name], often.scores[name], rtol=0, atol=1e-11) for name in OWN_SCORES)
    assert torch.allclose(once.factors, often.factors, rtol=0, atol=1e-11)


def test_factors_are_those_of_the_likelihood() -> None:
    scorer = linear_scorer()
    x = rows(5)
    x[0, 2] = 30
    factors = scorer.evidence(x, factors=True).factors
    assert factors is not None and factors.shape == x.shape
    assert factors[0].argmax() == 2
    assert scorer.evidence(x).factors is None


def test_a_point_has_a_reconstruction_only() -> None:
    scorer = linear_scorer(point=True)
    found = scorer.evidence(rows(4), factors=True)
    assert set(found.scores) == {RECONSTRUCTION}
    assert found.factors is not None
    assert torch.allclose(-found.factors.sum(dim=1), found.scores[RECONSTRUCTION])
    for name in (LIKELIHOOD, ELBO, KL):
        with refuses(NoPrior, name):
            check_has_prior(name, scorer.prior)
    check_has_prior(RECONSTRUCTION, scorer.prior)


def test_an_impossible_item_has_the_lowest_score_and_a_reason() -> None:
    vae = linear_vae()
    columns = Columns((Group(OneHot(torch.zeros(1, 4), 4, 0.0), 1, 4), Group(Normal(torch.zeros(1, 2)), 2)))
    scorer = Scorer(Fixed(DirectRunner(vae), columns), vae.prior, dtype=torch.float64)
    x = torch.tensor([[0, 1, 0, 0, 0.1, 0.2], [0, 0, 0, 0, 0.1, 0.2]], dtype=torch.float64)
    found = scorer.evidence(x, factors=True)
    assert found.scores[LIKELIHOOD][1] == -torch.inf and found.scores[LIKELIHOOD][0].isfinite()
    assert found.factors is not None
    assert found.factors[1, 0] == torch.inf and found.factors[:, 1:].isfinite().all()


class Fixed:
    """Halves with one likelihood for all latents."""

    def __init__(self, halves: DirectRunner, likelihood: Columns) -> None:
        self.halves, self.fixed = halves, likelihood

    def encode(self, x: Tensor):  # noqa: ANN201
        return self.halves.encode(x)

    def likelihood(self, z: Tensor, like: Tensor) -> Columns:
        return self.fixed


def test_codes_are_scored_at_the_mode_and_one_by_one() -> None:
    torch.manual_seed(0)
    vae = VAE(
        nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (4, 3))),
        Choices,
        nn.Sequential(nn.Flatten(), nn.Linear(12, 6)),
        Bernoulli,
        to_prior=Always(UniformCodes(4)),
    ).double()
    scorer = Scorer(DirectRunner(vae), vae.prior, dtype=torch.float64)
    x = torch.rand(9, 6, dtype=torch.float64).round()
    whole = scorer.evidence(x)
    assert all(each.shape == (9,) and each.isfinite().all() for each in whole.scores.values())
    for i in range(9):
        alone = scorer.evidence(x[i : i + 1])
        assert all(torch.allclose(alone.scores[name], whole.scores[name][i : i + 1]) for name in OWN_SCORES)


def test_images_are_computed_one_by_one() -> None:
    torch.manual_seed(0)
    vae = VAE(
        nn.Conv2d(1, 4, 3, padding=1),
        linear_vae().to_posterior,
        nn.Conv2d(2, 1, 3, padding=1),
        lambda mean: Normal(mean, 0.1),
        to_prior=linear_vae().to_prior,
    )
    scorer = Scorer(DirectRunner(vae), vae.prior, draws=8)
    x = torch.rand(5, 1, 6, 6)
    whole = scorer.evidence(x, factors=True)
    alone = [scorer.evidence(each, factors=True) for each in x.split(1)]
    assert whole.factors is not None and whole.factors.shape == x.shape
    for name in OWN_SCORES:
        assert torch.equal(whole.scores[name], torch.cat([each.scores[name] for each in alone]))
    assert torch.equal(scorer.latents(x), whole.latents)
