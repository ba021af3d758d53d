"""Ranks among reference scores: strictly monotone everywhere."""

import math

import numpy as np
import pytest
import torch

from vaekit.anomaly.tail_ranks import TailRanks, ensemble


def test_inside_the_reference_they_are_tail_shares() -> None:
    scores = torch.arange(100, dtype=torch.float64)
    ranks = TailRanks.of(scores)
    median, low = ranks(torch.tensor([49.0, 1.0]))
    assert float(median) == pytest.approx(math.log(2), abs=0.02)
    assert float(low) == pytest.approx(-math.log(1.5 / 100), abs=1e-12)


@pytest.mark.parametrize(
    "scores",
    [
        torch.arange(10.0),
        torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0]),
        torch.tensor([3.0, 3.0]),
        torch.tensor([-torch.inf, 1.0]),
    ],
)
def test_they_rise_strictly_without_ties_at_both_ends(scores: torch.Tensor) -> None:
    ranks = TailRanks.of(scores)
    grid = torch.linspace(1e6, -1e6, 4001, dtype=torch.float64)
    surprise = ranks(grid)
    assert (surprise > 0).all() and surprise.isfinite().all()
    assert (surprise.diff() > 0).all()


def test_equal_reference_scores_share_a_rank() -> None:
    ranks = TailRanks.of(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    assert ranks(torch.tensor([1.0])).tolist() == [pytest.approx(math.log(2))]


def test_infinite_and_missing_scores() -> None:
    ranks = TailRanks.of(torch.arange(10.0))
    found = ranks(torch.tensor([-torch.inf, torch.inf, torch.nan]))
    assert found[0] == torch.inf and found[1] == 0 and found[2].isnan()


def test_an_ensemble_keeps_the_order_of_members_that_agree() -> None:
    random = np.random.default_rng(0)
    reference = torch.from_numpy(random.normal(size=(2, 50)))
    far = torch.tensor([-5.0, -50.0, -500.0], dtype=torch.float64)
    scores = ensemble([TailRanks.of(each)(far) for each in reference])
    assert (scores.diff() < 0).all()
