"""How sure a mean over images is, and whether two VAEs differ on the same images: by resampling.

The same numbers give the same answer: draws come from a seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000
EXACT_UP_TO = 12
"""Images up to which every flip of signs is tried, 4,096 of them; beyond, as many are drawn."""
SEED = 0
BLOCK = 1 << 20
"""Numbers that are drawn at once: memory stays flat."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Two series of numbers for the same images."""

    difference: Interval
    """Of first minus second."""
    p: float
    """The chance of a mean difference at least as far from 0 if it were chance which of a pair is which."""


def bootstrap_interval(values: Sequence[float], draws: int = DRAWS) -> Interval:
    """The mean of one number per image, and its 95 % percentile bootstrap interval over the images.

    Images are drawn with replacement; the ends are the 2.5th and 97.5th percentile of the means (Efron 1979,
    "Bootstrap methods"; Efron and Tibshirani 1993, section 13.3). One image tells no spread: both ends are its own
    value.

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)

    Raises:
        ValueError: no values.
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        raise ValueError("an interval needs one value or more")
    generator = np.random.default_rng(SEED)
    means = np.concatenate(
        [
            given[generator.integers(0, len(given), (rows, len(given)))].mean(axis=1)
            for rows in blocks(draws, len(given))
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(given.mean()), float(low), float(high))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """The mean of first minus second over the same images: its bootstrap interval, and a sign-flip permutation test.

    p is the share of all flips of signs of the differences (a sample of them, the given one counted, for many images)
    whose mean is at least as far from 0 (Fisher 1935, "The design of experiments", section 21; Phipson and Smyth 2010
    for the count). With n images p cannot be below 2 / 2^n.

    >>> paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p
    0.25

    Raises:
        ValueError: no values, or not as many in both.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are no pairs")
    interval = bootstrap_interval((a - b).tolist())
    return PairedDifference(interval, flip_chance(a - b))


def flip_chance(differences: Values) -> float:
    """The share of flips of signs that give a mean as far from 0 as the given one."""
    # A hair less, so that sums in another order count as equal.
    least = abs(differences.sum()) * (1 - 1e-12)
    if len(differences) <= EXACT_UP_TO:
        signs = np.asarray(list(product((1.0, -1.0), repeat=len(differences))))
        return float((np.abs(signs @ differences) >= least).mean())
    generator, as_far = np.random.default_rng(SEED), 1
    for rows in blocks(DRAWS, len(differences)):
        signs = generator.integers(0, 2, (rows, len(differences))) * 2.0 - 1
        as_far += int((np.abs(signs @ differences) >= least).sum())
    return as_far / (DRAWS + 1)


def blocks(total: int, width: int) -> list[int]:
    """So many draws of so many numbers, in parts that fit into memory."""
    rows = max(1, BLOCK // width)
    return [min(rows, total - start) for start in range(0, total, rows)]
