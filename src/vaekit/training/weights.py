"""Weights of loss terms as functions of the number of samples: warm-up, ramps, cycles, phases."""

import re
from dataclasses import dataclass
from typing import Any

from vaekit.errors import printable


@dataclass(frozen=True)
class Weight:
    """A piecewise linear function, constant before the first point and after the last.

    >>> warm_up = Weight(((0, 0.0), (1000, 1.0)))
    >>> [warm_up.at(samples) for samples in (0, 250, 1000, 9000)]
    [0.0, 0.25, 1.0, 1.0]

    With a period, it repeats every `period` samples (Fu et al. 2019, arXiv 1903.10145):

    >>> cyclic = Weight(((0, 0.0), (500, 1.0)), period=1000)
    >>> [cyclic.at(samples) for samples in (250, 999, 1250)]
    [0.5, 1.0, 0.5]

    Two points at the same position are a step; from there on the second applies.
    """

    points: tuple[tuple[int | float, int | float], ...]
    """(samples, weight), sorted by samples."""
    period: int | float | None = None
    """In samples; None for a function that does not repeat."""

    def __post_init__(self) -> None:
        positions = [position for position, _ in self.points]
        if not positions or positions != sorted(positions):
            raise ValueError(f"the points {self.points} are not sorted by samples")
        if self.period is not None and self.period <= 0:
            raise ValueError(f"the period is {self.period}, but must be positive")

    @classmethod
    def constant(cls, value: int | float) -> "Weight":
        """A constant weight."""
        return cls(((0, value),))

    def at(self, samples: int | float) -> float:
        """The weight after `samples` samples."""
        position = samples if self.period is None else samples % self.period
        before = [point for point in self.points if point[0] <= position]
        after = [point for point in self.points if point[0] > position]
        if not before or not after:
            return before[-1][1] if before else after[0][1]
        (left, low), (right, high) = before[-1], after[0]
        return low + (high - low) * (position - left) / (right - left)


def weight_from(value: Any, period: Any = None, samples: int | None = None) -> Weight:
    """A weight from its form in a table: a number, or points [[samples, weight], ...].

    A position is a number of samples, or a share of the whole run such as "50%", which scales with the length of the
    run.

    >>> weight_from([["0%", 1], ["60%", 0]], samples=10_000).points
    ((0.0, 1.0), (6000.0, 0.0))

    Args:
        value: the value in the table.
        period: of the repetition, in samples or as a share.
        samples: of the whole run; None if it is unknown, and shares are invalid.

    Raises:
        ValueError: the value is of another form.
    """
    if type(value) in (int, float):
        return Weight.constant(float(value))
    points = [each for each in value if isinstance(each, list) and len(each) == 2] if isinstance(value, list) else []
    if not points or len(points) != len(value):
        raise ValueError(f"a weight is a number or a list of [samples, weight], not {printable(repr(value), 60)}")
    pairs = [(position_from(position, samples), float(weight)) for position, weight in points]
    return Weight(tuple(pairs), None if period is None else position_from(period, samples))


def position_from(value: Any, samples: int | None) -> float:
    """A number of samples, given as such or as a share of the whole run.

    Raises:
        ValueError: the value is of another form, or a share of an unknown number of samples.
    """
    if type(value) in (int, float):
        return float(value)
    share = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value) if isinstance(value, str) else None
    if share is None:
        raise ValueError(
            f'a position is a number of samples or a share such as "50%", not {printable(repr(value), 60)}'
        )
    if samples is None:
        raise ValueError(f"{value} is a share of schedule.samples, which is unknown")
    return float(share[1]) * samples / 100
