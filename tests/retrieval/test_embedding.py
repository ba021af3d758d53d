"""Unit vectors."""

import pytest
import torch

from vaekit.errors import BadItem
from vaekit.retrieval.embedding import unit_vectors


def test_vectors_have_unit_length_also_for_zeros_and_extreme_values() -> None:
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e30, -1e30], [1e-30, 0.0]])
    vectors = unit_vectors(values, "The latent")
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(vectors[0], torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    values = torch.ones(3, 2)
    values[1, 0] = value
    with pytest.raises(BadItem) as error:
        unit_vectors(values, "The latent")
    assert "1 of 3" in error.value.found
    assert "at 1 of" in error.value.found
