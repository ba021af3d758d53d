"""Cells of table rows: values that training never saw, and missing ones."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.distributions import Columns, Group, LogisticCounts, LogisticSteps, Normal, OneHot, StudentT, TwoValued
from vaekit.distributions.base import Factorized
from vaekit.distributions.cells import UNSEEN


@pytest.mark.parametrize(
    ("likelihood", "support", "unseen"),
    [
        (TwoValued(torch.tensor([[0.7]]), 0.01), torch.tensor([[0.0], [1.0]]), torch.tensor([[UNSEEN]])),
        (OneHot(torch.tensor([[0.7, -1.0, 0.2]]), 3, 0.01), torch.eye(3), torch.zeros(1, 3)),
    ],
)
def test_other_values_together_have_a_small_probability(
    likelihood: Factorized, support: Tensor, unseen: Tensor
) -> None:
    assert likelihood.log_prob(unseen).exp().item() == pytest.approx(0.01)
    seen = sum(likelihood.log_prob(value[None]).exp().item() for value in support)
    assert seen == pytest.approx(0.99)


def test_a_missing_cell_has_the_factor_one() -> None:
    rows = Columns((Group(Normal(torch.zeros(1, 2)), 2), Group(OneHot(torch.zeros(1, 3), 3, 0.0), 1, 3)))
    row = torch.tensor([[1.0, math.nan, math.nan, math.nan, math.nan]])
    factors = rows.log_factors(row)
    assert factors[0, 1:].tolist() == [0, 0]
    assert rows.log_prob(row).item() == pytest.approx(Normal(torch.zeros(1, 1)).log_prob(row[:, :1]).item())


def test_missing_cells_leave_gradients_finite() -> None:
    location = torch.zeros(1, 2, requires_grad=True)
    counts = LogisticCounts(location, 1.0, torch.zeros(2), torch.ones(2))
    Columns((Group(counts, 2),)).log_prob(torch.tensor([[math.nan, 0.0]])).sum().backward()
    assert location.grad is not None
    assert location.grad[0, 0] == 0
    assert location.grad.isfinite().all()


@pytest.mark.parametrize(
    "likelihood",
    [
        StudentT(torch.full((1, 1), torch.nan), 1.0, torch.tensor([torch.nan])),
        LogisticSteps(torch.full((1, 1), torch.nan), 1.0, torch.ones(1)),
        LogisticCounts(torch.full((1, 1), torch.nan), 1.0, torch.zeros(1), torch.ones(1)),
        TwoValued(torch.full((1, 1), torch.nan), 0.01),
        OneHot(torch.full((1, 3), torch.nan), 3, 0.01),
    ],
)
def test_samples_of_damaged_parameters_are_nan(likelihood: Factorized) -> None:
    assert likelihood.sample(torch.Generator().manual_seed(0)).isnan().all()
