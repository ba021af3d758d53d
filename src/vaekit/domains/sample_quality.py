"""Types for comparing samples with the data that they should be like."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaekit.metrics.measure import Measure


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
