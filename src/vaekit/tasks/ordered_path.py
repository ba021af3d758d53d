"""Choose points of a path whose items change step by step: different ones, ever less similar to the first.

The latent changes smoothly along a path, and discrete items do not: points in a row give the same sentence, or one that
is nearer to the first again. Of many points, a few are chosen.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vaekit.domains.item_functions import ItemSimilarity

DENSITY = 8
"""Points that are decoded for each one that is chosen."""
MOST_ORDERED = 64
"""Points that are chosen at most between two items: the time grows with the cube of their number."""
RISE, SAME = 4.0, 1.0
"""The costs of a step to an item that is more similar to the first, and to an equal one. Steps of unequal length cost
at most 1."""


def ordered_points(similarity: Sequence[float], items: Sequence[Hashable], count: int) -> list[int]:
    """The indices of `count` points of a path, the first and the last among them, with the least cost of all steps.

    >>> ordered_points([1.0, 1.0, 0.3, 0.6, 0.5, 0.2], "aabcde", 4)
    [0, 3, 4, 5]

    Args:
        similarity: of the item of each point to the first one.
        items: of the points; equal ones are the same.
        count: from 2 to the number of points.
    """
    last, even = len(items) - 1, (len(items) - 1) / (count - 1)
    costs, before = [0.0] + [float("inf")] * last, []
    for _ in range(count - 1):
        steps = [
            min(
                (costs[start] + step_cost(similarity, items, start, end, even), start)
                for start in range(end if end else 1)
            )
            for end in range(last + 1)
        ]
        costs = [float("inf"), *(cost for cost, _ in steps[1:])]
        before.append([start for _, start in steps])
    chosen = [last]
    for starts in reversed(before):
        chosen.append(starts[chosen[-1]])
    return chosen[::-1]


def step_cost(similarity: Sequence[float], items: Sequence[Hashable], start: int, end: int, even: float) -> float:
    """The cost of a step between two points."""
    uneven = ((end - start) / even - 1) ** 2 / len(items)
    return RISE * (similarity[end] > similarity[start]) + SAME * (items[end] == items[start]) + uneven


def ordered_path(
    points: Tensor,
    steps: int,
    decode: Callable[[Tensor], Sequence[Hashable]],
    similarity: ItemSimilarity,
    after: Callable[[int], None],
) -> Tensor:
    """Choose points of a path through several items.

    Args:
        points: of the whole path, DENSITY * (steps + 1) + 1 between two items, (n, ...); ends are shared.
        steps: points to choose between two items.
        decode: latents (1, ...) -> an item.
        similarity: of items.
        after: called with the number of decoded points.

    Returns:
        The chosen points, steps + 2 between two items.
    """
    items: list[Hashable] = []
    for done, point in enumerate(points.split(1), start=1):
        items += decode(point)
        after(done)
    bounds = range(0, len(points), DENSITY * (steps + 1))
    chosen = [0]
    for start, end in pairwise(bounds):
        leg = items[start : end + 1]
        alike = similarity.of_pairs([leg[0]] * len(leg), leg).nan_to_num().tolist()
        chosen += [start + index for index in ordered_points(alike, leg, steps + 2)[1:]]
    return points[torch.tensor(chosen, device=points.device)]
