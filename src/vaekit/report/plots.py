"""Small drawings as SVG: intervals of a measure, histograms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vaekit.report.html import Markup, tag
from vaekit.report.records import Estimate
from vaekit.report.tones import Histogram

WIDTH, ROW, PAD = 160, 10, 5


@dataclass(frozen=True)
class Axis:
    """Numbers to places on a drawing."""

    low: float
    high: float

    def place(self, value: float) -> str:
        """From the left, in units of the drawing."""
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{PAD + part * (WIDTH - 2 * PAD):.1f}"


def axis_of(estimates: Sequence[Estimate | None], reference: float | None = None) -> Axis | None:
    """An axis that holds all finite values and ends of intervals, and the reference; None where nothing is finite."""
    values = [end for one in estimates if one is not None for end in (one.value, one.low, one.high)]
    ends = [end for end in values if end is not None and math.isfinite(end)]
    if not ends:
        return None
    ends += [] if reference is None else [reference]
    return Axis(min(ends), max(ends))


def intervals(estimates: Sequence[Estimate | None], reference: float | None = None) -> Markup | None:
    """Values as dots and their intervals as lines, a row for each set, on one axis; None where nothing is finite.

    Args:
        reference: where a line is drawn: the best value.
    """
    axis = axis_of(estimates, reference)
    if axis is None:
        return None
    height = ROW * len(estimates)
    marks = [_upright(axis, reference, height)]
    marks += [_whisker(axis, ROW * (row + 0.5), row, one) for row, one in enumerate(estimates)]
    return _drawing(marks, height)


def one_interval(estimates: Sequence[Estimate | None], own: int) -> Markup | None:
    """One set's value and interval among the values of the others, which are faint."""
    axis = axis_of(estimates)
    if axis is None:
        return None
    y = ROW / 2 + 1
    others = [
        tag("circle", class_="other", cx=axis.place(one.value), cy=y, r=2)
        for i, one in enumerate(estimates)
        if one is not None and i != own and math.isfinite(one.value)
    ]
    ground = tag("line", class_="reference", x1=PAD, x2=WIDTH - PAD, y1=y, y2=y)
    return _drawing([ground, *others, _whisker(axis, y, own, estimates[own])], ROW + 2)


def _drawing(marks: Sequence[Markup | None], height: int) -> Markup:
    box = f"0 0 {WIDTH} {height}"
    return tag("svg", list(marks), class_="intervals", viewBox=box, width=WIDTH, height=height, aria_hidden="true")


def _upright(axis: Axis, reference: float | None, height: int) -> Markup | None:
    if reference is None:
        return None
    return tag("line", class_="reference", x1=axis.place(reference), x2=axis.place(reference), y1=0, y2=height)


def _whisker(axis: Axis, y: float, position: int, one: Estimate | None) -> Markup | None:
    if one is None or not math.isfinite(one.value):
        return None
    line = None
    if one.low is not None and one.high is not None and math.isfinite(one.low) and math.isfinite(one.high):
        line = tag("line", x1=axis.place(one.low), x2=axis.place(one.high), y1=y, y2=y)
    return tag("g", line, tag("circle", cx=axis.place(one.value), cy=y, r=3), class_=colour(position))


def colour(position: int) -> str:
    """The class of a set's colour. There are six; a seventh set has the first again, and a letter of its own."""
    return f"set-{position % 6}"


def histogram(original: Histogram, sets: Mapping[int, Histogram], channel: str) -> Markup:
    """The original as an area, each set as a line in its colour, over levels 0 to 255.

    The scale is made for what most levels have; a few higher counts are cut. Those at the ends, which are clipped, are
    told in numbers.
    """
    inner = np.stack([one.counts[1:-1] for one in (original, *sets.values())])
    usual, largest = float(np.quantile(inner, 0.99)), float(inner.max())
    top = max(1.2 * usual if usual > largest / 5 else 1.05 * largest, 1.0)
    lines = [tag("path", class_=f"line {colour(key)}", data_key=key, d=_outline(one, top)) for key, one in sets.items()]
    area = tag("path", class_="area", d=f"M0 100L{_outline(original, top)[1:]}L255 100Z")
    ticks = [tag("line", class_="tick", x1=x, x2=x, y1=0, y2=100) for x in (63.75, 127.5, 191.25)]
    label = f"Histogram of {channel}, original and reconstructions"
    return tag(
        "svg",
        ticks,
        area,
        lines,
        class_=f"histogram {channel}",
        viewBox="0 0 255 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _outline(one: Histogram, top: float) -> str:
    heights = 100 * (1 - np.minimum(one.counts / top, 1))
    return "M" + "L".join(f"{level} {height:.1f}" for level, height in enumerate(heights))
