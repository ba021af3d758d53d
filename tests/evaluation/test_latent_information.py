"""Mutual information and active units as a pooled measure."""

import pytest
import torch

from vaekit.evaluation.latent_information import ACTIVE, INFORMATION, MOST, InformationPool


def rows(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(count, 2, generator=generator) * torch.tensor([1.0, 0.01])
    log_variance = torch.full((count, 2), -1.0)
    z = mean + (0.5 * log_variance).exp() * torch.randn(count, 2, generator=generator)
    return torch.cat([mean, log_variance, z], dim=1)


def test_results_do_not_depend_on_batches() -> None:
    one, other = InformationPool(), InformationPool()
    one.add(rows(100))
    for part in rows(100).split(7):
        other.add(part)
    first, second = one.result().results, other.result().results
    assert [each.value for each in first] == [each.value for each in second]
    values = {each.quantity.name: each.value for each in first}
    assert values[ACTIVE.name] == 1
    assert 0.3 < values[INFORMATION.name] < 1.2


def test_memory_does_not_grow_with_the_items() -> None:
    pool = InformationPool()
    pool.add(rows(MOST + 50))
    assert len(pool.kept) == MOST
    information, active = pool.result().results
    assert (information.count, active.count) == (MOST, MOST + 50)


@pytest.mark.parametrize("count", [0, 1])
def test_one_item_has_no_information(count: int) -> None:
    pool = InformationPool()
    pool.add(rows(count))
    assert pool.result().not_measured.keys() == {INFORMATION.name, ACTIVE.name}
