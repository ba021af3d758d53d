"""Every position is in one pass, and has neighbors of earlier passes only."""

import numpy as np
import pytest

from vaekit.codec.position_passes import (
    MOST_HALVINGS,
    halvings_for,
    most_neighbors,
    pass_count,
    passes_of,
)

CASES = [((), 0), ((7,), 0), ((3,), 2), ((64,), 2), ((5, 3), 2), ((4, 9), 2), ((3, 3, 4), 2), ((2, 2, 2), 1)]


@pytest.mark.parametrize(("sides", "halvings"), CASES)
def test_positions_are_in_one_pass_and_neighbors_in_earlier_ones(sides: tuple[int, ...], halvings: int) -> None:
    passes = passes_of(sides, halvings)
    assert len(passes) == pass_count(len(sides), halvings)
    assert max(len(each.neighbors) for each in passes) == most_neighbors(len(sides), halvings)
    known: set[int] = set()
    for each in passes:
        assert set(each.neighbors.ravel().tolist()) <= known
        assert each.neighbors.shape[1] == len(each.where) and not known & set(each.where.tolist())
        known |= set(each.where.tolist())
    assert known == set(range(int(np.prod(sides))))


def test_neighbors_of_an_image_surround_their_position() -> None:
    *_, last = passes_of((8, 8), 2)
    place = last.where.tolist().index(4 * 8 + 3)
    assert set(last.neighbors[:, place].tolist()) == {3 * 8 + 3, 5 * 8 + 3, 4 * 8 + 2, 4 * 8 + 4}


def test_neighbors_outside_are_replaced_by_those_on_the_other_side() -> None:
    *_, last = passes_of((4,), 1)
    assert last.where.tolist() == [1, 3] and last.neighbors[:, 1].tolist() == [2, 2]


def test_the_number_of_strides_suits_the_latents() -> None:
    assert halvings_for(1, ()) == halvings_for(1, (4, 4)) == 0
    assert halvings_for(1, (64, 64)) == halvings_for(1000, (64, 64)) == MOST_HALVINGS
    assert halvings_for(10_000, (2, 64)) == 1
    assert halvings_for(10_000, (3, 3, 3, 3)) == 0
