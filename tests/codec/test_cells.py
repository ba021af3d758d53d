"""Variables in cells: every distribution, and its probabilities."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.cells import decisions, pop_cells, push_decisions
from vaekit.codec.rounding import Place, Recording, Replaying

EMPTY = np.zeros(0, dtype=np.uint32)
START = Place(0, 0, 0)


@dataclass(frozen=True)
class Table:
    """The same probabilities for some variables."""

    probabilities: Tensor
    variables: int

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.full(self.variables, len(self.probabilities), dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        del chosen
        return torch.cat([torch.zeros(1).double(), self.probabilities.cumsum(0)])[edges]


def pushed(cells: Table, values: NDArray[np.int64]) -> tuple[BitStack, Recording]:
    stack, rounding = BitStack(EMPTY), Recording()
    push_decisions(stack, decisions(cells, values, rounding, START))
    return stack, rounding


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_any_value_of_any_table_comes_back(weights: list[float], seed: int) -> None:
    weight = torch.tensor(weights).double()
    total = weight.sum()
    cells = Table(weight / total if total > 0 else torch.full_like(weight, 1 / len(weight)), 30)
    values = np.random.default_rng(seed).integers(0, len(weights), 30)
    stack, rounding = pushed(cells, values)
    found = pop_cells(BitStack(stack.words), cells, Replaying(rounding.corrections), START)
    assert np.array_equal(found, values)


def test_frequent_values_are_short() -> None:
    cells = Table(torch.tensor([0.9, 0.05, 0.03, 0.02], dtype=torch.float64), 100_000)
    values = np.random.default_rng(0).choice(4, 100_000, p=cells.probabilities.numpy())
    stack, _ = pushed(cells, values)
    expected = -np.log2(cells.probabilities.numpy())[values].sum()
    assert stack.bits == pytest.approx(expected, abs=64)


def test_values_popped_from_other_bits_are_samples() -> None:
    noise = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    cells = Table(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), 100_000)
    stack, rounding = BitStack(noise), Recording()
    values = pop_cells(stack, cells, rounding, START)
    shares = np.bincount(values, minlength=3) / len(values)
    np.testing.assert_allclose(shares, cells.probabilities.numpy(), atol=0.01)
    push_decisions(stack, decisions(cells, values, rounding, START))
    assert np.array_equal(stack.words, noise)


def test_an_impossible_value_costs_bits_and_comes_back() -> None:
    cells = Table(torch.tensor([1.0, 0.0]).double(), 10)
    values = np.ones(10, dtype=np.int64)
    stack, rounding = pushed(cells, values)
    assert 10 * 22 < stack.bits < 10 * 26
    assert np.array_equal(pop_cells(stack, cells, Replaying(rounding.corrections), START), values)


def test_variables_with_one_cell_cost_nothing() -> None:
    cells = Table(torch.ones(1).double(), 10)
    stack, _ = pushed(cells, np.zeros(10, dtype=np.int64))
    assert stack.bits == 0
