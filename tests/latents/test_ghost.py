"""The ghost index: 0 for a blend, its distance otherwise."""

import pytest
import torch

from vaekit.latents.ghost import ghost_index, meaning_of


def test_a_blend_is_0_and_its_distance_counts_in_units_of_the_ends() -> None:
    a, b = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    blend = (a + b) / 2
    assert ghost_index(a, blend, b) == pytest.approx(0, abs=1e-7)
    assert ghost_index(a, blend + 0.3 * (a - b), b) == pytest.approx(0.3)
    assert ghost_index(a, a, b) == ghost_index(a, b, b) == pytest.approx(0.5)


def test_equal_ends_have_none() -> None:
    assert ghost_index(torch.ones(3), torch.zeros(3), torch.ones(3)) is None


@pytest.mark.parametrize("position", [1 / 3, 0.4])
def test_a_blend_at_another_position_is_compared_with_the_blend_there(position: float) -> None:
    a, b = torch.zeros(3), torch.ones(3)
    assert ghost_index(a, torch.full((3,), position), b, position) == pytest.approx(0, abs=1e-7)
    assert ghost_index(a, torch.full((3,), 0.5), b, position) == pytest.approx(0.5 - position)


@pytest.mark.parametrize(
    ("indices", "meaning"),
    [
        ([0.0, 0.2], "they cross-fade"),
        ([0.4], "they change into each other"),
        ([0.26], "between a cross-fade and a change into each other"),
        ([0.1, 0.3], "between a cross-fade and a change into each other"),
        ([0.1, 0.3, 0.5], "some cross-fade, others change into each other"),
    ],
)
def test_the_meaning_of_several_parts(indices: list[float], meaning: str) -> None:
    assert meaning_of(indices) == meaning
