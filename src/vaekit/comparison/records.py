"""What a report holds: the same records become `report.json` and the page.

A report measures *sets* of reconstructions of the same images: one set for each VAE, or for each folder of another
tool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vaekit.metrics.measure import Measure


@dataclass(frozen=True)
class Estimate:
    """A measure over a set of images."""

    value: float
    """The mean over the images."""
    low: float | None = None
    """The lower end of the 95 % interval of the mean (Student's t); None for fewer than two images."""
    high: float | None = None
    """Its upper end."""


@dataclass(frozen=True)
class Defect:
    """A fault that a set of reconstructions has."""

    name: str
    """One of the documented vocabulary: `docs/defects.md`."""
    size: float
    unit: str
    evidence: str
    """What was seen, in one sentence with its numbers, for a person."""


@dataclass(frozen=True)
class Comparison:
    """Two sets, measured on the same images, set beside each other."""

    measure: str
    first: str
    second: str
    difference: float
    """The mean over the images of first minus second."""
    low: float
    high: float
    """The ends of its 95 % interval (Student's t over the pairs)."""
    p: float
    """The chance of a mean difference at least as large if the two were alike: a paired sign-flip permutation test."""


@dataclass(frozen=True)
class MeasuredImage:
    """One image as a set has it."""

    name: str
    measures: Mapping[str, float]


@dataclass(frozen=True)
class MeasuredCandidate:
    """What one VAE, or one tool, made of all images."""

    name: str
    rank: int
    """1 is the best."""
    reason: str
    """Why it stands there, against the next one."""
    verdict: tuple[str, ...]
    """What it does to images, in plain sentences; the first is the most important."""
    defects: tuple[Defect, ...]
    measures: Mapping[str, Estimate]
    images: tuple[MeasuredImage, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the VAE: family, fingerprint, latent channels, factor. Empty for foreign images."""


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be measured."""

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All that was found."""

    candidates: tuple[MeasuredCandidate, ...]
    """Best first."""
    comparisons: tuple[Comparison, ...]
    measures: tuple[Measure, ...]
    """What the numbers mean, in the order of the tables."""
    skipped: tuple[SkippedImage, ...]
    protocol: Mapping[str, Any]
    """How it was measured: version, command, dtype, seed, number of images, versions of libraries."""


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image that the page shows. Pixels (1, 3, h, w) in [-1, 1], as an 8-bit file has them."""

    name: str
    original: Tensor
    reconstructions: Mapping[str, Tensor]
    """By the name of the set."""
    why: str
    """How it was chosen: `worst LPIPS`."""
