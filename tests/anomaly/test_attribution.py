"""Attribution: the column that was changed is blamed."""

import torch
from linear_vae import linear_scorer, rows
from refusals import refuses

from vaekit.anomaly.attribution import attributions
from vaekit.anomaly.reference import FactorStatistics, ReferenceFit
from vaekit.anomaly.scores import Evidence
from vaekit.errors import BadItem, BadPlan

SCORER = linear_scorer()


def test_a_changed_column_is_blamed() -> None:
    fit = ReferenceFit()
    fit.add([str(i) for i in range(200)], SCORER.evidence(rows(200), factors=True))
    reference = fit.finish()
    x = rows(6, seed=1)
    normal = attributions(SCORER.evidence(x, factors=True), reference)
    x[range(6), range(6)] += 8
    found = attributions(SCORER.evidence(x, factors=True), reference)
    # The latent explains a part of the change, and changes other columns for that.
    assert (found.argmax(dim=1) == torch.arange(6)).sum() >= 5
    assert normal.mean().abs() < 1 < found.max(dim=1).values.min()


def test_a_column_that_is_always_improbable_is_not_blamed() -> None:
    factors = torch.tensor([[5.0, 1.0, 0.0]])
    evidence = Evidence(torch.zeros(1, 1), {}, factors)
    fit = ReferenceFit()
    fit.add(["a", "b"], SCORER.evidence(rows(2), factors=True))
    reference = fit.finish()
    mean = FactorStatistics(torch.tensor([5.0, 0.5, 0.7]), torch.ones(3))
    assert attributions(evidence).tolist() == factors.tolist()
    object.__setattr__(reference, "factors", mean)
    assert attributions(evidence, reference).tolist() == [[0.0, 0.5, 0.0]]
    object.__setattr__(reference, "factors", FactorStatistics(torch.zeros(2), torch.zeros(2)))
    with refuses(BadItem, 2, 3):
        attributions(evidence, reference)


def test_a_likelihood_without_factors_is_refused() -> None:
    with refuses(BadPlan):
        attributions(Evidence(torch.zeros(1, 1), {}))
