"""Points of a path are chosen so that their items change step by step."""

from collections.abc import Sequence

import pytest
import torch

from vaekit.domains.item_functions import ItemSimilarity
from vaekit.tasks.ordered_path import DENSITY, ordered_path, ordered_points


def test_evenly_changing_items_are_chosen_at_even_distances() -> None:
    similarity = [1 - place / 24 for place in range(25)]
    assert ordered_points(similarity, range(25), 7) == [0, 4, 8, 12, 16, 20, 24]


@pytest.mark.parametrize("count", [2, 3, 9])
def test_first_and_last_are_among_them_and_order_is_kept(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    similarity = [1.0, *torch.rand(16, generator=generator).tolist()]
    chosen = ordered_points(similarity, range(17), count)
    assert len(chosen) == count and chosen[0] == 0 and chosen[-1] == 16
    assert chosen == sorted(set(chosen))


def test_items_that_are_nearer_again_and_equal_ones_are_left_out() -> None:
    similarity = [1.0, 0.9, 0.9, 0.2, 0.6, 0.5, 0.4, 0.3, 0.1]
    chosen = ordered_points(similarity, "abbxcdefz", 5)
    values = [similarity[index] for index in chosen]
    assert values == sorted(values, reverse=True) and 3 not in chosen
    assert not {1, 2} <= set(chosen)


def test_each_leg_of_a_path_is_ordered_by_its_own_first_item() -> None:
    steps = 3
    points = torch.arange(2 * DENSITY * (steps + 1) + 1.0).unsqueeze(1)
    middle = len(points) // 2
    asked: list[tuple[float, float]] = []

    def alike(one: Sequence[float], other: Sequence[float]) -> list[float]:
        asked.extend(zip(one, other, strict=True))
        return [1 - abs(a - b) / 100 for a, b in zip(one, other, strict=True)]

    seen: list[int] = []
    chosen = ordered_path(points, steps, lambda z: z[:, 0].tolist(), ItemSimilarity("distance", alike), seen.append)
    assert len(chosen) == 2 * (steps + 1) + 1 and seen[-1] == len(points)
    assert chosen[0] == points[0] and chosen[steps + 1] == points[middle] and chosen[-1] == points[-1]
    assert {first for first, _ in asked} == {0.0, float(middle)}
