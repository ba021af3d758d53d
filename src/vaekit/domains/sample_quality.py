"""Types for comparing samples with the data that they should be like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vaekit.metrics.measure import Measure


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


CompareSamples = Callable[[Tensor, int], SampleQuality]
"""(samples as the VAE takes them (n, ...), a seed) -> how similar they are to some data."""
