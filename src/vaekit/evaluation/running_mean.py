"""The mean of numbers that go by one at a time, and how well it is known."""

import math
from dataclasses import dataclass

from vaekit.evaluation.measures import Result
from vaekit.metrics.measure import Measure

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@dataclass
class RunningMean:
    """Mean and variance in one pass (Welford 1962, Technometrics 4(3)), in double precision.

    The same numbers in the same order give the same result to the last bit.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    not_finite: int = 0

    def add(self, value: float) -> None:
        """Take one more. What is not finite is counted and left out."""
        if not math.isfinite(value):
            self.not_finite += 1
            return
        self.count += 1
        apart = value - self.mean
        self.mean += apart / self.count
        self.squares += apart * (value - self.mean)

    def result(self, quantity: Measure) -> Result:
        """The mean; its standard error; its 95 % interval by Student's t."""
        if self.count < 2:
            value = self.mean if self.count else math.nan
            return Result(quantity, value, count=self.count, not_finite=self.not_finite)
        error = math.sqrt(self.squares / (self.count - 1) / self.count)
        reach = student(self.count - 1) * error
        return Result(quantity, self.mean, error, self.mean - reach, self.mean + reach, self.count, self.not_finite)


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t, to 1 % from 3 degrees of freedom on (Abramowitz & Stegun, 26.7.5).

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
