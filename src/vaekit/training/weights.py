"""How much a part of the loss counts, as a function of the samples seen: warm-up, ramps, cycles, phases."""

import re
from dataclasses import dataclass
from typing import Any

from vaekit.errors import printable


@dataclass(frozen=True)
class Weight:
    """A line through points, constant before the first and after the last.

    >>> warm_up = Weight(((0, 0.0), (1000, 1.0)))
    >>> [warm_up.at(samples) for samples in (0, 250, 1000, 9000)]
    [0.0, 0.25, 1.0, 1.0]

    With a period it begins anew whenever so many samples are over (Fu et al. 2019, arXiv 1903.10145):

    >>> cyclic = Weight(((0, 0.0), (500, 1.0)), period=1000)
    >>> [cyclic.at(samples) for samples in (250, 999, 1250)]
    [0.5, 1.0, 0.5]

    Two points at one place are a step; the second counts from there on.
    """

    points: tuple[tuple[int | float, int | float], ...]
    """(samples, weight), in the order of samples."""
    period: int | float | None = None

    def __post_init__(self) -> None:
        places = [place for place, _ in self.points]
        if not places or places != sorted(places):
            raise ValueError(f"the points {self.points} are not sorted by samples")
        if self.period is not None and self.period <= 0:
            raise ValueError(f"the period is {self.period}, but must be positive")

    @classmethod
    def constant(cls, value: int | float) -> "Weight":
        """The same at all times."""
        return cls(((0, value),))

    def at(self, samples: int | float) -> float:
        """The weight after so many samples."""
        place = samples if self.period is None else samples % self.period
        before = [point for point in self.points if point[0] <= place]
        after = [point for point in self.points if point[0] > place]
        if not before or not after:
            return before[-1][1] if before else after[0][1]
        (left, low), (right, high) = before[-1], after[0]
        return low + (high - low) * (place - left) / (right - left)


def weight_from(told: Any, period: Any = None, samples: int | None = None) -> Weight:
    """A weight as a table tells it: a number, or points [[samples, weight], ...].

    A place among the samples is a number, or a share of the whole run such as "50%": phases told so stay phases of the
    run whatever its length.

    >>> weight_from([["0%", 1], ["60%", 0]], samples=10_000).points
    ((0.0, 1.0), (6000.0, 0.0))

    Args:
        told: what the table says.
        period: after which the points begin anew, in samples or as a share too.
        samples: of the whole run; None where nobody tells it, and shares mean nothing.

    Raises:
        ValueError: it is neither.
    """
    if type(told) in (int, float):
        return Weight.constant(float(told))
    points = [point for point in told if isinstance(point, list) and len(point) == 2] if isinstance(told, list) else []
    if not points or len(points) != len(told):
        raise ValueError(f"a weight is a number or a list of [samples, weight], not {printable(repr(told), 60)}")
    places = [(place_from(place, samples), float(value)) for place, value in points]
    return Weight(tuple(places), None if period is None else place_from(period, samples))


def place_from(told: Any, samples: int | None) -> float:
    """A number of samples, told as one or as a share of the whole run.

    Raises:
        ValueError: it is neither.
    """
    if type(told) in (int, float):
        return float(told)
    share = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", told) if isinstance(told, str) else None
    if share is None:
        raise ValueError(f'a place is a number of samples or a share such as "50%", not {printable(repr(told), 60)}')
    if samples is None:
        raise ValueError(f"{told} is a share of schedule.samples, which is unknown")
    return float(share[1]) * samples / 100
