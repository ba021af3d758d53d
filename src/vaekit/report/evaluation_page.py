"""The evaluation of a VAE for people: measures, histograms, examples and players, as one HTML page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaekit.domains.sample_quality import Histogram, SampleQuality
from vaekit.evaluation.evaluate import Evaluation
from vaekit.report.embedding import Embedded, levels_of, photograph
from vaekit.report.page import write_static_page
from vaekit.report.players import PlayedItem, players
from vaekit.report.scripts import text_of

WIDTH, HEIGHT = 400, 100
"""The box of a histogram, in SVG units."""
NO_SAMPLES = SampleQuality({}, (), {}, "")
"""Where samples were not evaluated."""
LONGEST = 1100
"""The longer side of examples on the page, in pixels."""


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """The results of an evaluation."""

    item: str
    """Noun for an item."""
    items: str
    """Its plural."""
    evaluation: Evaluation
    count: int = 0
    """The number of samples."""
    quality: SampleQuality | None = None
    """The measures of samples; None where samples were not evaluated."""
    samples: Tensor | None = None
    """Some samples as an image (3, h, w) in [-1, 1]."""
    pairs: Tensor | None = None
    """Some items above their reconstructions."""
    played: Sequence[PlayedItem] = ()
    """Items to listen to, with their reconstructions."""


@dataclass(frozen=True)
class HistogramPaths:
    """A histogram as SVG paths."""

    name: str
    low: str
    high: str
    data: str
    samples: str
    distance: str
    """Of the two distributions."""


def histogram_paths(histogram: Histogram, distance: float) -> HistogramPaths:
    """Both distributions, on one scale."""
    top = max(*histogram.data, *histogram.samples, 1e-9)
    data, samples = (steps(shares, top) for shares in (histogram.data, histogram.samples))
    return HistogramPaths(
        histogram.name, f"{histogram.low:.4g}", f"{histogram.high:.4g}", data, samples, f"{distance:.3g}"
    )


def steps(shares: Sequence[float], top: float) -> str:
    """The outline of bars.

    >>> steps([0.5, 1.0], 1.0)
    'M0 100L0.0 50.0L200.0 50.0L200.0 0.0L400.0 0.0L400 100Z'
    """
    wide = WIDTH / len(shares)
    corners = [
        f"{edge * wide:.1f} {HEIGHT * (1 - share / top):.1f}"
        for place, share in enumerate(shares)
        for edge in (place, place + 1)
    ]
    return f"M0 {HEIGHT}L{'L'.join(corners)}L{WIDTH} {HEIGHT}Z"


def embedded(image: Tensor | None) -> Embedded | None:
    """An image for the page."""
    return None if image is None else photograph(levels_of(image[None])[0], LONGEST)


def value_text(value: float) -> str:
    """A mean for people."""
    return "-" if math.isnan(value) else f"{value:.5g}"


def write_evaluation_page(report: EvaluationReport, path: Path) -> None:
    """Write a self-contained HTML page, which opens from disk, makes no request, and runs at most the players' script.

    Raises:
        CannotWrite: for example, the disk is full.
    """
    quality, played = report.quality, players(report.played)
    found = NO_SAMPLES if quality is None else quality
    write_static_page(
        "evaluation",
        path,
        ("players",) if played else (),
        text_of("players.js") if played else "",
        report=report,
        protocol=report.evaluation.protocol,
        results=report.evaluation.results,
        missing={**report.evaluation.not_measured, **found.not_measured},
        measured=[(each, each.text(found.values[each.name])) for each in found.measures],
        histograms=[histogram_paths(each, found.parts.get(each.name, math.nan)) for each in found.histograms],
        samples=embedded(report.samples),
        pairs=embedded(report.pairs),
        played=played,
        value=value_text,
        width=WIDTH,
        height=HEIGHT,
    )
