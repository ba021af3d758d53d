"""The positions of a latent in passes, from coarse to fine, so that most of them lie between positions that are known.

The first pass has the positions whose coordinates are multiples of 2^h. Then strides s = 2^(h-1), ..., 1 follow: with
multiples of 2 s known, those with an odd multiple of s along some axes are added, in one pass for each set of such
axes, the largest sets first. A position has these neighbors, all of them known:

- the corners: s away along every axis of the set, in both directions;
- the positions that are s away along one other axis.

A neighbor outside of the latent is replaced by the one on the other side of the position.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

MOST_HALVINGS = 2
MOST_AXES = 3
LEAST_VALUES = 1024
"""Values of a channel, in all items, that the pass with the fewest has at least."""


@dataclass(frozen=True, eq=False)
class Pass:
    """Positions that are coded together."""

    where: NDArray[np.int64]
    """(p,): indices of flattened positions, in ascending order."""
    neighbors: NDArray[np.int64]
    """(k, p): indices of the neighbors of each."""


def halvings_for(items: int, sides: Sequence[int]) -> int:
    """The number of strides that suits latents of which there are some items."""
    halvings, values = 0, items * math.prod(sides)
    if not sides or len(sides) > MOST_AXES:
        return 0
    while halvings < MOST_HALVINGS and 2**halvings < min(sides) and values >> len(sides) * halvings >= LEAST_VALUES:
        halvings += 1
    return halvings


def pass_count(axes: int, halvings: int) -> int:
    """The number of passes."""
    return 1 + halvings * (2**axes - 1)


def most_neighbors(axes: int, halvings: int) -> int:
    """The largest number of neighbors of a position."""
    return max([0, *(2**n + 2 * (axes - n) for n in range(1, axes + 1))]) if halvings else 0


@lru_cache(maxsize=16)
def passes_of(sides: tuple[int, ...], halvings: int) -> tuple[Pass, ...]:
    """The passes of latents.

    Args:
        sides: positions along each axis that has more than one.
        halvings: the number of strides h; 2^(h-1) is less than every side.
    """
    axes = len(sides)
    coarse = [np.arange(0, side, 2**halvings) for side in sides]
    first = Pass(flat(coarse, sides), np.empty((0, math.prod(len(each) for each in coarse)), np.int64))
    sets = [odd for count in range(axes, 0, -1) for odd in combinations(range(axes), count)]
    strides = [2**h for h in reversed(range(halvings))]
    return (first, *(one_pass(sides, stride, odd) for stride in strides for odd in sets))


def one_pass(sides: tuple[int, ...], stride: int, odd: tuple[int, ...]) -> Pass:
    """The positions with odd multiples of a stride along some axes, and even ones along the others."""
    at = [np.arange(stride if axis in odd else 0, side, 2 * stride) for axis, side in enumerate(sides)]
    corners = [dict(zip(odd, signs, strict=True)) for signs in product((-1, 1), repeat=len(odd))]
    others = [{axis: sign} for axis in range(len(sides)) if axis not in odd for sign in (-1, 1)]
    neighbors = [
        [shifted(at[axis], stride * moved.get(axis, 0), side) for axis, side in enumerate(sides)]
        for moved in (*corners, *others)
    ]
    return Pass(flat(at, sides), np.stack([flat(each, sides) for each in neighbors]))


def shifted(at: NDArray[np.int64], by: int, side: int) -> NDArray[np.int64]:
    """Coordinates moved by some positions, or in the other direction where that leads outside."""
    moved = at + by
    return np.where((moved < 0) | (moved >= side), at - by, moved)


def flat(at: Sequence[NDArray[np.int64]], sides: tuple[int, ...]) -> NDArray[np.int64]:
    """The indices of a grid of coordinates among flattened positions."""
    indices = np.zeros([1] * len(sides), np.int64)
    for axis, coordinates in enumerate(at):
        indices = indices * sides[axis] + coordinates.reshape([-1 if a == axis else 1 for a in range(len(sides))])
    return indices.ravel()
