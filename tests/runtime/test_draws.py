"""How many latents of each item are decoded at once."""

import pytest
import torch

from vaekit.runtime.draws import CHUNK_VALUES, draws_per_call, repeated


@pytest.mark.parametrize(
    ("draws", "values", "expected"), [(64, 100, 64), (64, CHUNK_VALUES, 1), (50, CHUNK_VALUES // 25, 25)]
)
def test_draws_fit_into_a_chunk(draws: int, values: int, expected: int) -> None:
    assert draws_per_call(draws, torch.zeros(1, values)) == expected


def test_an_item_is_never_divided() -> None:
    assert draws_per_call(3, torch.zeros(1, 1).expand(2, 4 * CHUNK_VALUES)) == 1


def test_repeated_items_come_after_each_other() -> None:
    assert repeated(torch.tensor([[1], [2]]), 2).flatten().tolist() == [1, 2, 1, 2]
