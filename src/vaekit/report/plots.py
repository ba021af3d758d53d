"""Plots as plain coordinates, which the templates draw as SVG: intervals of a measure, histograms of levels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaekit.comparison.records import Estimate
from vaekit.metrics.image.color import LUMA
from vaekit.report.crops import Levels

WIDTH, ROW, PAD = 160, 10, 5
"""The width of an interval plot, the height of a row, and the margin at both sides, in SVG units."""
CHANNELS = ("luminance", "red", "green", "blue")


def color(position: int) -> str:
    """The CSS class of a candidate's color. Six colors repeat; letters do not."""
    return f"candidate-{position % 6}"


@dataclass(frozen=True)
class Mark:
    """A value as a dot and its interval as a line."""

    color: str
    x: float
    y: float
    low: float | None
    """The ends of the interval; None if it is not finite."""
    high: float | None


@dataclass(frozen=True)
class IntervalPlot:
    """Values and intervals of several candidates on one axis."""

    height: int
    reference: tuple[float, float, float, float] | None
    """A thin line, from (x1, y1) to (x2, y2)."""
    others: list[float]
    """The x positions of faint dots on the line."""
    marks: list[Mark]
    width: int = WIDTH


def intervals(estimates: Sequence[Estimate | None], reference: float | None = None) -> IntervalPlot | None:
    """A row for each candidate; None if no value is finite.

    Args:
        reference: the best value, marked by a vertical line.
    """
    place = _axis(estimates, reference)
    if place is None:
        return None
    height = ROW * len(estimates)
    upright = None if reference is None else (place(reference), 0.0, place(reference), float(height))
    marks = [_mark(place, ROW * (row + 0.5), row, one) for row, one in enumerate(estimates)]
    return IntervalPlot(height, upright, [], [mark for mark in marks if mark is not None])


def one_interval(estimates: Sequence[Estimate | None], own: int) -> IntervalPlot | None:
    """One candidate's value and interval, with the values of the others as faint dots; None if none is finite."""
    place = _axis(estimates)
    if place is None:
        return None
    y = ROW / 2 + 1
    others = [
        place(one.value) for i, one in enumerate(estimates) if one is not None and i != own and math.isfinite(one.value)
    ]
    mark = _mark(place, y, own, estimates[own])
    return IntervalPlot(ROW + 2, (float(PAD), y, float(WIDTH - PAD), y), others, [] if mark is None else [mark])


def _axis(estimates: Sequence[Estimate | None], reference: float | None = None) -> Callable[[float], float] | None:
    """A map of values to x that fits all finite values, ends of intervals and the reference; None if none is finite."""
    values = [end for one in estimates if one is not None for end in (one.value, one.low, one.high)]
    ends = [end for end in values if end is not None and math.isfinite(end)]
    if not ends:
        return None
    ends += [] if reference is None else [reference]
    low, high = min(ends), max(ends)

    def place(value: float) -> float:
        part = (value - low) / (high - low) if high > low else 0.5
        return round(PAD + part * (WIDTH - 2 * PAD), 1)

    return place


def _mark(place: Callable[[float], float], y: float, position: int, one: Estimate | None) -> Mark | None:
    if one is None or not math.isfinite(one.value):
        return None
    low, high = None, None
    if one.low is not None and one.high is not None and math.isfinite(one.low) and math.isfinite(one.high):
        low, high = place(one.low), place(one.high)
    return Mark(color(position), place(one.value), y, low, high)


def level_counts(levels: Levels) -> NDArray[np.int64]:
    """The number of pixels at each level, (4, 256), in the order of `CHANNELS`.

    Luminance is Rec. 601 luma, 0.299 R' + 0.587 G' + 0.114 B', rounded to the nearest level.
    """
    luma = np.rint(levels @ np.asarray(LUMA)).astype(np.uint8)
    return counts_by_channel(np.dstack([luma, levels]), 256)


def counts_by_channel(values: NDArray[np.integer], bins: int) -> NDArray[np.int64]:
    """Counts of each value in [0, bins) in each channel of (h, w, c): (c, bins)."""
    return np.stack([np.bincount(plane.ravel(), minlength=bins) for plane in np.moveaxis(values, 2, 0)])


@dataclass(frozen=True)
class HistogramPlot:
    """One channel's histograms over levels 0 to 255, as SVG paths in a box of 255 by 100."""

    channel: str
    area: str
    """The path of the original."""
    lines: list[tuple[int, str, str]]
    """The candidate's position, the color's class and the path of each reconstruction."""


def histogram(channel: str, original: NDArray[np.int64], results: Mapping[int, NDArray[np.int64]]) -> HistogramPlot:
    """Plot the counts (256,) of one channel of the original and of reconstructions, by the candidates' positions.

    The scale fits most levels, and higher counts are cut off. Levels 0 and 255 do not affect the scale: if many pixels
    are clipped they would flatten the rest.
    """
    inner = np.stack([counts[1:-1] for counts in (original, *results.values())])
    usual, largest = float(np.quantile(inner, 0.99)), float(inner.max())
    top = max(1.2 * usual if usual > largest / 5 else 1.05 * largest, 1.0)
    lines = [(key, color(key), f"M{_outline(counts, top)}") for key, counts in results.items()]
    return HistogramPlot(channel, f"M0 100L{_outline(original, top)}L255 100Z", lines)


def _outline(counts: NDArray[np.int64], top: float) -> str:
    heights = 100 * (1 - np.minimum(counts / top, 1))
    return "L".join(f"{level} {height:.1f}" for level, height in enumerate(heights))


@dataclass(frozen=True)
class SpectrumPlot:
    """Spectra as SVG paths in a box of 255 by 100, both axes logarithmic."""

    area: str
    """The path of the images."""
    lines: list[tuple[str, str]]
    """The color's class and the path of each candidate that has a spectrum."""
    positions: list[int]
    """The positions of these candidates."""
    low: str
    high: str
    """The range of frequencies in cycles per position."""
    decades: int


def spectrum_plot(spectra: Sequence[Mapping[str, Sequence[float]]]) -> SpectrumPlot | None:
    """Plot the spectra of candidates, and that of the images for the first that has one; None if none has.

    Args:
        spectra: `frequency`, `latents` and `data` of each candidate, or nothing.
    """
    known = [i for i, one in enumerate(spectra) if {"frequency", "latents", "data"} <= one.keys()]
    curves = [_points(spectra[i]["frequency"], spectra[i]["latents"]) for i in known]
    images = [_points(spectra[i]["frequency"], spectra[i]["data"]) for i in known[:1]]
    everything = [point for curve in (*curves, *images) for point in curve]
    if len(everything) < 2:
        return None
    left, right = (pick(x for x, _ in everything) for pick in (min, max))
    bottom, top = math.floor(min(y for _, y in everything)), math.ceil(max(y for _, y in everything))

    def path(points: Sequence[tuple[float, float]]) -> str:
        return "L".join(
            f"{255 * (x - left) / max(right - left, 1e-9):.1f} {100 * (top - y) / max(top - bottom, 1):.1f}"
            for x, y in points
        )

    lines = [(color(i), f"M{path(curve)}") for i, curve in zip(known, curves, strict=True) if curve]
    area = f"M0 100L{path(images[0])}L255 100Z" if images[0] else ""
    return SpectrumPlot(area, lines, known, f"{10**left:.2g}", f"{10**right:.2g}", top - bottom)


def _points(frequencies: Sequence[float], powers: Sequence[float]) -> list[tuple[float, float]]:
    """The logarithms of frequency and power, where there is power."""
    pairs = zip(frequencies, powers, strict=True)
    return [(math.log10(frequency), math.log10(power)) for frequency, power in pairs if power > 0]
