"""The records of a comparison, from which `report.json` and the page are written.

A report compares *candidates*: reconstructions of the same images by a VAE, or from a folder of another tool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vaekit.metrics.measure import Measure

SIGNIFICANT = 0.05
"""The largest p-value of a difference that counts as significant."""
FEWEST = 6
"""The least number of images that can show a significant difference: of n, the least p of the test is 2 / 2^n."""


@dataclass(frozen=True)
class Subject:
    """What is compared: items of one kind, and how they are measured."""

    item: str
    items: str
    """Nouns for one item and for several."""
    measures: tuple[Measure, ...]
    """In the order of the tables."""
    headlines: tuple[str, ...]
    """The names of the measures that decide the rank; the first one breaks ties."""
    chosen_by: tuple[str, ...]
    """The names of the measures that choose the items of the page: the first of them that was measured. Lower is
    better."""


@dataclass(frozen=True)
class Estimate:
    """A measure over several images."""

    value: float
    """The mean over the images."""
    low: float | None = None
    """The lower end of the 95 % interval of the mean (Student's t); None for fewer than two images."""
    high: float | None = None
    """The upper end."""


@dataclass(frozen=True)
class Defect:
    """A defect of a candidate."""

    name: str
    """A name from `docs/defects.md`."""
    size: float
    unit: str
    evidence: str
    """A sentence with the measured values."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of two candidates in one measure."""

    measure: str
    first: str
    second: str
    difference: float
    """The mean over the images of first minus second."""
    low: float
    high: float
    """The ends of its 95 % interval (Student's t over the pairs)."""
    p: float
    """The p-value of the difference, by a paired sign-flip permutation test."""
    images: int = FEWEST
    """The number of images that both were measured on."""
    significant: bool = field(init=False)
    """Whether the two candidates differ: p is at most 0.05, and the interval does not contain 0. Every sentence and
    table of a report takes the decision from here."""

    def __post_init__(self) -> None:
        apart = self.difference != 0 and not self.low <= 0 <= self.high
        object.__setattr__(self, "significant", apart and self.p <= SIGNIFICANT)


@dataclass(frozen=True)
class MeasuredImage:
    """The measures of one image."""

    name: str
    measures: Mapping[str, float]


@dataclass(frozen=True)
class MeasuredCandidate:
    """The results of one candidate."""

    name: str
    rank: int
    """1 is the best."""
    reason: str
    """The reason for its rank, compared with an adjacent candidate."""
    verdict: tuple[str, ...]
    """Sentences about the reconstructions, the most important first."""
    defects: tuple[Defect, ...]
    measures: Mapping[str, Estimate]
    images: tuple[MeasuredImage, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the VAE: family, fingerprint, latent channels, factor. Empty for images of another tool."""
    spectrum: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The power of latents and of images at radial frequencies, each relative to white noise: `frequency`, `latents`,
    `data`. Empty if it was not measured."""


@dataclass(frozen=True)
class SkippedImage:
    """An image that could not be measured."""

    name: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The result of a comparison."""

    candidates: tuple[MeasuredCandidate, ...]
    """Best first."""
    comparisons: tuple[Comparison, ...]
    measures: tuple[Measure, ...]
    """The definitions of the measures, in the order of the tables."""
    skipped: tuple[SkippedImage, ...]
    protocol: Mapping[str, Any]
    """The settings: version, command, dtype, seed, number of images, versions of libraries."""
    item: str = "image"
    items: str = "images"
    """Nouns for one of the compared items and for several."""
    defects_sought: bool = True
    """Whether defects were looked for."""


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image that the page shows. Pixels are (1, 3, h, w) in [-1, 1], rounded to 8 bits."""

    name: str
    original: Tensor
    reconstructions: Mapping[str, Tensor]
    """By the name of the candidate."""
    why: str
    """The reason why it was chosen: `worst LPIPS`."""
