"""Compare samples with the data that they should be like: types, and the distributions of a number."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vaekit.metrics.measure import Measure

BINS = 40
"""Of a histogram."""


@dataclass(frozen=True)
class Histogram:
    """The distributions of a number over data and over samples."""

    name: str
    low: float
    high: float
    """The ends of the axis, which is divided into bins of equal width."""
    data: Sequence[float]
    samples: Sequence[float]
    """The share of each bin; values beyond the axis are in the bins at its ends."""


@dataclass(frozen=True)
class SampleQuality:
    """How similar samples are to data."""

    values: Mapping[str, float]
    """By name of the measure."""
    measures: tuple[Measure, ...]
    """Of the same names, in order."""
    parts: Mapping[str, float]
    """The distance of each part of the items, such as a column; the largest first."""
    part: str
    """Noun for a part."""
    not_measured: Mapping[str, str] = field(default_factory=dict)
    """Reasons, by title of the measure."""
    histograms: tuple[Histogram, ...] = ()
    """Of some parts."""


CompareSamples = Callable[[Sequence[Any], int], SampleQuality]
"""(samples as the domain writes them, a seed) -> how similar they are to some data."""


def share(count: int, total: int) -> float:
    """A share; NaN of nothing."""
    return count / total if total else math.nan


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are numbers; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def histogram(name: str, data: Sequence[float], samples: Sequence[float]) -> Histogram:
    """The distributions of a property, NaN left out, over the range of all values but the most extreme ones."""
    both = [np.array([value for value in values if not math.isnan(value)]) for values in (data, samples)]
    every = np.concatenate(both)
    low, high = (float(end) for end in np.quantile(every, [0.002, 0.998])) if len(every) else (0.0, 1.0)
    high = high if high > low else low + 1
    shares = [np.histogram(values.clip(low, high), BINS, (low, high))[0] / max(1, len(values)) for values in both]
    return Histogram(name, low, high, shares[0].tolist(), shares[1].tolist())
