"""Nearest neighbors of latents."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 512
"""Rows that are compared at once."""
Flat = Float[Tensor, "n d"]


def nearest(count: int, rows: Callable[[int, int], Flat], block: int = BLOCK) -> Int[Tensor, " n"]:
    """The index of the nearest other row of each of `count` rows, by Euclidean distance; of equally near ones the
    first.

    Exact up to the rounding of float32 products about the mean of the rows; memory holds two blocks of rows and their
    distances.

    Args:
        count: the number of rows, at least two.
        rows: start and stop -> these rows.
        block: rows that are compared at once.

    >>> latents = torch.tensor([[0.0], [1.0], [1.5]])
    >>> nearest(3, lambda start, stop: latents[start:stop])
    tensor([1, 2, 1])
    """
    starts = range(0, count, block)
    total = sum(rows(start, min(start + block, count)).double().sum(dim=0) for start in starts)
    mean = torch.as_tensor(total / count).float()

    def centered(start: int) -> Flat:
        return rows(start, min(start + block, count)).float() - mean

    found = torch.zeros(count, dtype=torch.long)
    for start in starts:
        own = centered(start)
        best = torch.full((len(own),), torch.inf)
        for other in starts:
            others = centered(other)
            distances = others.square().sum(dim=1) - 2 * (own @ others.T)  # |own|^2 is the same for all others
            if other == start:
                distances.fill_diagonal_(torch.inf)
            least, place = distances.min(dim=1)
            nearer = least < best
            best = torch.where(nearer, least, best)
            found[start : start + len(own)][nearer] = place[nearer] + other
    return found
