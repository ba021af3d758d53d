"""Statistics of normal items, and the scores that need them."""

import pytest
import torch
from linear_vae import linear_scorer, rows
from refusals import refuses

from vaekit.anomaly import reference as module
from vaekit.anomaly.reference import ENSEMBLE, MAHALANOBIS, NEIGHBORS, RELATIVE_SCORES, SCORES, Reference, ReferenceFit
from vaekit.anomaly.scores import LIKELIHOOD, RECONSTRUCTION
from vaekit.errors import BadItem

SCORER = linear_scorer()


def fitted(x: torch.Tensor, names: list[int] | None = None, size: int = 64) -> Reference:
    fit = ReferenceFit(SCORER.draws, SCORER.seed)
    numbers = list(range(len(x))) if names is None else names
    for start in range(0, len(x), size):
        batch = x[start : start + size]
        fit.add([f"row {i}" for i in numbers[start : start + size]], SCORER.evidence(batch, factors=True))
    return fit.finish()


def every_score(reference: Reference, x: torch.Tensor) -> dict[str, torch.Tensor]:
    evidence = SCORER.evidence(x)
    return {**evidence.scores, **reference.relative_scores(evidence.latents, evidence.scores, RELATIVE_SCORES)}


def test_order_and_batches_change_nothing() -> None:
    x = rows(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    first, other = fitted(x), fitted(x[order], order, 31)
    queries = rows(20, seed=5, spread=2)
    for name in SCORES:
        assert torch.allclose(first.scores[name], other.scores[name], rtol=0, atol=1e-9)
        assert torch.allclose(every_score(first, queries)[name], every_score(other, queries)[name], rtol=0, atol=1e-9)
    assert first.factors is not None and other.factors is not None
    assert torch.allclose(first.factors.std, other.factors.std)


def test_all_scores_find_wide_rows() -> None:
    reference = fitted(rows(300))
    near, far = every_score(reference, rows(50, seed=1)), every_score(reference, rows(50, seed=2, spread=5))
    for name in (*RELATIVE_SCORES, LIKELIHOOD):
        assert near[name].mean() > far[name].mean(), name
    # The lowest scores stay in the order of their distance from the reference.
    farther = every_score(reference, rows(50, seed=2, spread=50))
    assert (farther[ENSEMBLE] < far[ENSEMBLE].min()).all()


def test_the_scores_of_the_reference_are_leave_one_out() -> None:
    x = rows(100)
    reference = fitted(x)
    new = every_score(reference, rows(100, seed=3))
    for name in (NEIGHBORS, ENSEMBLE):
        assert abs(reference.scores[name].mean() - new[name].mean()) < 0.5 * new[name].std()


def test_factors_have_mean_and_spread_without_missing_values() -> None:
    x = rows(100)
    factors = torch.rand(100, 3, dtype=torch.float64) + 1
    factors[::2, 1] = 0
    moments = module.FactorMoments((3,))
    for part in factors.split(9):
        moments.add(part)
    found = moments.statistics()
    assert torch.allclose(found.mean[:1].double(), factors[:, 0].mean(), atol=1e-6)
    assert torch.allclose(found.mean[1].double(), factors[1::2, 1].mean(), atol=1e-6)
    assert torch.allclose(found.std[1].double(), factors[1::2, 1].std(correction=0), atol=1e-6)
    assert fitted(x).factors is not None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LATENTS", 30)
    monkeypatch.setattr(module, "MOST_SCORES", 40)
    reference = fitted(rows(200))
    assert len(reference.latents) == len(reference.scores[NEIGHBORS]) == 30
    assert len(reference.scores[LIKELIHOOD]) == 40
    assert reference.items == 200


def test_items_without_finite_scores_are_left_out() -> None:
    x = rows(20)
    x[3] = torch.inf
    fit = ReferenceFit()
    fit.add([str(i) for i in range(20)], SCORER.evidence(x, factors=True))
    assert (fit.items, fit.excluded) == (19, 1)
    assert all(each.isfinite().all() for each in fit.finish().scores.values())


def test_too_few_items_are_refused() -> None:
    with refuses(BadItem, 2):
        ReferenceFit().finish()
    with refuses(BadItem, 2):
        fitted(rows(1))


def test_items_of_other_sizes_are_refused() -> None:
    reference = fitted(rows(10))
    with refuses(BadItem, 2, 3):
        reference.relative_scores(torch.zeros(1, 2), {}, [MAHALANOBIS])
    fit = ReferenceFit()
    evidence = SCORER.evidence(rows(2), factors=True)
    fit.add(["a", "b"], evidence)
    with refuses(BadItem):
        fit.add(["c"], type(evidence)(torch.zeros(1, 5), {name: each[:1] for name, each in evidence.scores.items()}))


def test_an_autoencoder_has_an_ensemble_of_the_reconstruction() -> None:
    scorer = linear_scorer(point=True)
    fit = ReferenceFit()
    fit.add([str(i) for i in range(50)], scorer.evidence(rows(50), factors=True))
    reference = fit.finish()
    assert set(reference.scores) == {RECONSTRUCTION, *RELATIVE_SCORES}
    evidence = scorer.evidence(rows(5, spread=9))
    found = reference.relative_scores(evidence.latents, evidence.scores, RELATIVE_SCORES)
    assert all(each.isfinite().all() for each in found.values())
