"""The kernel distance against the formula term by term, and what makes it worth having: it has no bias."""

import pytest
import torch
from torch import Tensor

from vaekit.metrics.kernel_distance import kernel_distance, paired_kernel_distance


def rows(count: int, seed: int, width: int = 6) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def term_by_term(x: Tensor, y: Tensor) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        return float((torch.dot(a.double(), b.double()) / len(a) + 1) ** 3)

    n, total = len(x), 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i])
    return total / (n * (n - 1))


def test_it_is_the_formula() -> None:
    x, y = rows(9, 0), rows(9, 1) + 0.3
    assert paired_kernel_distance(x, y) == pytest.approx(term_by_term(x, y), rel=1e-10)


def test_two_samples_of_one_distribution_are_at_zero_on_average() -> None:
    values = torch.tensor([paired_kernel_distance(rows(10, 2 * s), rows(10, 2 * s + 1)) for s in range(400)])
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.min() < 0


def test_pairs_that_resemble_each_other_do_not_bring_it_below_zero() -> None:
    """Counterparts with noise of their own, of one distribution with the items: the distance is 0 on average."""
    values = []
    for seed in range(400):
        x, other = rows(10, 2 * seed), rows(10, 2 * seed + 1)
        values.append(paired_kernel_distance(x, 0.8 * x + 0.6 * other))
    told = torch.tensor(values)
    assert abs(told.mean()) < 3 * told.std() / 20


def test_subsets_are_those_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.metrics.kernel_distance.SUBSET_SIZE", 200)
    x, y = rows(250, 0, 2), rows(250, 1, 2) + 0.3
    one = kernel_distance(x, y, 3)
    assert one == kernel_distance(x, y, 3)
    assert one != kernel_distance(x, y, 4)
    assert one.subset_size == 200 and one.subsets == 100
    assert one.value == pytest.approx(paired_kernel_distance(x, y), rel=0.2)


def test_few_items_are_one_subset() -> None:
    x, y = rows(7, 0), rows(7, 1)
    told = kernel_distance(x, y, 0)
    assert (told.subsets, told.subset_size, told.standard_error) == (1, 7, None)
    assert told.value == paired_kernel_distance(x, y)
