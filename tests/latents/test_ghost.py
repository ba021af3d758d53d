"""The ghost index: 0 for a blend, its distance otherwise."""

import pytest
import torch

from vaekit.latents.ghost import ghost_index


def test_a_blend_is_0_and_its_distance_counts_in_units_of_the_ends() -> None:
    a, b = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    blend = (a + b) / 2
    assert ghost_index(a, blend, b) == pytest.approx(0, abs=1e-7)
    assert ghost_index(a, blend + 0.3 * (a - b), b) == pytest.approx(0.3)
    assert ghost_index(a, a, b) == ghost_index(a, b, b) == pytest.approx(0.5)


def test_equal_ends_have_none() -> None:
    assert ghost_index(torch.ones(3), torch.zeros(3), torch.ones(3)) is None
