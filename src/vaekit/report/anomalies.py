"""Scores of anomalies for people: histogram, ROC curve, and the most improbable items with their reasons, as one HTML
page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaekit.domains.attribution import Reason
from vaekit.errors import counted
from vaekit.metrics.detection import auroc, average_precision
from vaekit.metrics.detection_intervals import detection_intervals
from vaekit.report.embedding import Embedded, levels_of, photograph
from vaekit.report.page import write_static_page

BINS = 60
WIDTH, HEIGHT = 600, 200
"""The box of the histogram, in SVG units."""
SQUARE = 100
"""The side of the box of the ROC curve."""
SPREAD = 4.0
"""The histogram covers all scores within this number of interquartile ranges from the quartiles."""
MOST_REASONS = 8
"""Reasons that are shown for an item."""
MOST_POINTS = 500
"""Of the ROC curve."""
LONGEST = 1000
"""The longer side of a heat map on the page, in pixels."""

Scores = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShownAnomaly:
    """One of the most improbable items."""

    name: str
    score: float
    flagged: bool | None = None
    """None without a threshold."""
    label: str | None = None
    reasons: Sequence[Reason] = ()
    image: Tensor | None = None
    """The heat map beside the original, (1, 3, h, w) in [-1, 1]."""
    note: str = ""
    """Why there are no reasons."""

    @property
    def embedded(self) -> Embedded | None:
        """The image for the page."""
        return None if self.image is None else photograph(levels_of(self.image)[0], LONGEST)

    @property
    def has_intervals(self) -> bool:
        """Whether a reason has an interval."""
        return any(reason.interval for reason in self.reasons)


@dataclass(frozen=True, eq=False)
class AnomalyReport:
    """Scores of the items of a data set."""

    item: str
    items: str
    """Nouns for one item and for several."""
    score: str
    """The name of the score; higher is more normal."""
    scores: Scores
    """Of the items that have one, (n,)."""
    anomalous: NDArray[np.bool_] | None = None
    """Whether each is labelled as an anomaly; None without labels of both kinds."""
    threshold: float | None = None
    """Items with lower scores are flagged."""
    worst: Sequence[ShownAnomaly] = ()
    """The most improbable first."""
    compared: bool = True
    """Whether reasons are relative to normal data."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """About the call, for the page."""


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts of scores as SVG paths in a box of `WIDTH` by `HEIGHT`."""

    normal: str
    """The path of normal items, or of all items if there are no labels."""
    anomalous: str
    """The path of anomalies, on its own scale of counts."""
    threshold: float | None
    """The position of the threshold; None if it is outside."""
    low: str
    high: str
    """The range of scores."""
    outside: int
    """The number of scores beyond the range, which are counted in the first and the last bin."""


@dataclass(frozen=True)
class Curve:
    """The ROC curve as an SVG path in a box of `SQUARE` by `SQUARE`."""

    path: str
    threshold: tuple[float, float] | None
    """The position of the threshold on it."""
    recall: float | None
    false_positives: float | None
    """Shares at the threshold."""


@dataclass(frozen=True)
class Quality:
    """A measure with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float


def write_anomaly_page(report: AnomalyReport, path: Path) -> None:
    """Write a self-contained HTML page, which opens from disk, runs no script and makes no request.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    write_static_page(
        "anomalies",
        path,
        report=report,
        histogram=score_histogram(report),
        curve=roc_curve(report),
        qualities=qualities(report),
        most=MOST_REASONS,
        width=WIDTH,
        height=HEIGHT,
        square=SQUARE,
        number=score_text,
        counted=counted,
    )


def score_text(value: float) -> str:
    """A score for people.

    >>> score_text(-1234.5678), score_text(0.012345), score_text(float("-inf"))
    ('\N{MINUS SIGN}1,235', '0.01235', '\N{MINUS SIGN}∞')
    """
    if not math.isfinite(value):
        return "\N{MINUS SIGN}∞" if value < 0 else "∞" if value > 0 else "not a number"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 8)}f}".replace("-", "\N{MINUS SIGN}")


def score_histogram(report: AnomalyReport) -> ScoreHistogram | None:
    """The histogram of scores, in two parts if there are labels; None without finite scores."""
    finite = report.scores[np.isfinite(report.scores)]
    if not len(finite):
        return None
    low, high = usual_range(finite)
    clipped = np.clip(np.nan_to_num(report.scores, posinf=high, neginf=low), low, high)
    edges = np.linspace(low, high, BINS + 1)
    anomalous = np.zeros(len(clipped), bool) if report.anomalous is None else report.anomalous
    threshold = report.threshold
    inside = threshold is not None and low <= threshold <= high
    return ScoreHistogram(
        steps(np.histogram(clipped[~anomalous], edges)[0]),
        steps(np.histogram(clipped[anomalous], edges)[0]),
        WIDTH * (threshold - low) / (high - low) if inside and threshold is not None else None,
        score_text(low),
        score_text(high),
        int((clipped != report.scores).sum()),
    )


def usual_range(scores: Scores) -> tuple[float, float]:
    """The range of a histogram, which a few extreme scores do not widen."""
    first, third = np.quantile(scores, [0.25, 0.75])
    reach = SPREAD * (third - first)
    low, high = max(float(scores.min()), first - reach), min(float(scores.max()), third + reach)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def steps(counts: NDArray[np.int64]) -> str:
    """Counts as the outline of bars; empty without any."""
    if not counts.any():
        return ""
    tops = HEIGHT * (1 - counts / counts.max())
    width = WIDTH / len(counts)
    bars = "".join(f"L{i * width:.1f} {top:.1f}L{(i + 1) * width:.1f} {top:.1f}" for i, top in enumerate(tops))
    return f"M0 {HEIGHT}{bars}L{WIDTH} {HEIGHT}Z"


def roc_curve(report: AnomalyReport) -> Curve | None:
    """The ROC curve; None without labels."""
    if report.anomalous is None:
        return None
    order = np.argsort(report.scores, kind="stable")
    scores, positive = report.scores[order], report.anomalous[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    recall = np.append(0, np.cumsum(positive)[ends] / positive.sum())
    fallout = np.append(0, np.cumsum(~positive)[ends] / (~positive).sum())
    kept = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), MOST_POINTS)).round().astype(int))
    points = "L".join(f"{SQUARE * fallout[i]:.2f} {SQUARE * (1 - recall[i]):.2f}" for i in kept)
    if report.threshold is None:
        return Curve(f"M{points}", None, None, None)
    flagged = scores < report.threshold
    hits, false = float(flagged[positive].mean()), float(flagged[~positive].mean())
    return Curve(f"M{points}", (SQUARE * false, SQUARE * (1 - hits)), hits, false)


def qualities(report: AnomalyReport) -> list[Quality]:
    """AUROC and average precision with intervals; empty without labels."""
    if report.anomalous is None:
        return []
    abnormality = -report.scores
    intervals = detection_intervals(abnormality, report.anomalous)
    return [
        Quality("AUROC", auroc(abnormality, report.anomalous), *intervals.auroc),
        Quality("average precision", average_precision(abnormality, report.anomalous), *intervals.average_precision),
    ]
