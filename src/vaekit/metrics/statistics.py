"""The mean over items: its standard error and interval, and whether two series differ on the same items.

The interval of a mean is Student's t everywhere. Comparisons are often made over a dozen images, where percentile
bootstrap intervals are too narrow: resampling n values underestimates their variance by (n - 1) / n and ignores the
quantiles of t. Of 12 normal values such an interval holds the true mean in 91 % of cases instead of 95 %
(`tests/metrics/test_statistics.py`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
DRAWS = 4000
"""Random sign flips that are drawn where there are too many to enumerate."""
EXACT_UP_TO = 12
"""The largest number of items for which all sign flips (4,096) are enumerated."""
SEED = 0
BLOCK = 1 << 20
"""Signs that are drawn at once, to bound the memory."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass
class RunningMean:
    """Mean and variance in one pass (Welford 1962, Technometrics 4(3)), in double precision and constant memory.

    The same values in the same order give a bit-identical result.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """The sum of squared differences from the mean."""
    not_finite: int = 0

    def add(self, value: float) -> None:
        """Add a value. Non-finite values are counted and left out."""
        if not math.isfinite(value):
            self.not_finite += 1
            return
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)

    @property
    def standard_error(self) -> float | None:
        """The standard error of the mean; None for fewer than two values."""
        return math.sqrt(self.squares / (self.count - 1) / self.count) if self.count > 1 else None

    @property
    def interval(self) -> Interval | None:
        """The mean and its 95 % interval by Student's t; None for fewer than two values."""
        error = self.standard_error
        if error is None:
            return None
        reach = student(self.count - 1) * error
        return Interval(self.mean, self.mean - reach, self.mean + reach)


def mean_interval(values: Iterable[float]) -> Interval:
    """The mean of finite values and its 95 % interval by Student's t.

    >>> mean_interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)

    Raises:
        ValueError: fewer than two finite values.
    """
    running = RunningMean()
    for value in values:
        running.add(value)
    interval = running.interval
    if interval is None:
        raise ValueError("an interval needs at least two finite values")
    return interval


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t, accurate to 1 % from 3 degrees of freedom on (Abramowitz & Stegun, 26.7.5).

    >>> round(student(11), 3)
    2.201
    """
    if freedom < 3:
        return (12.7062, 4.30265)[freedom - 1]
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return Z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


@dataclass(frozen=True)
class PairedDifference:
    """Two series of values for the same items."""

    difference: Interval
    """The mean of first minus second."""
    p: float
    """The probability of a mean difference at least as far from 0 if the two values of each pair were swapped at
    random."""


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """The mean of first minus second over the same items: its interval by Student's t, and a sign-flip permutation
    test.

    p is the share of all sign flips of the differences (for many items: of a random sample of them that includes the
    observed signs) whose mean is at least as far from 0 (Fisher 1935, "The design of experiments", section 21; Phipson
    and Smyth 2010 for the count). With n items p cannot be below 2 / 2^n.

    >>> paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]).p
    0.25

    Raises:
        ValueError: fewer than two pairs, or series of different lengths.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are not pairs")
    return PairedDifference(mean_interval((a - b).tolist()), sign_flip_p(a - b))


def sign_flip_p(differences: Values) -> float:
    """The share of sign flips whose mean is at least as far from 0 as the observed one."""
    # Slightly less, so that sums in another order count as equal.
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
    """`total` draws of `width` values each, in parts that fit into memory."""
    rows = max(1, BLOCK // width)
    return [min(rows, total - start) for start in range(0, total, rows)]
