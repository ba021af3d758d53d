import math
from dataclasses import asdict

import numpy as np
import pytest

from vaekit.comparison.records import Estimate
from vaekit.report.plots import (
    CHANNELS,
    counts_by_channel,
    histogram,
    intervals,
    level_counts,
    one_interval,
    spectrum_plot,
)


def test_every_pixel_is_counted_once_at_its_level() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    counts = level_counts(levels)
    assert counts.shape == (len(CHANNELS), 256) and (counts.sum(axis=1) == 17 * 23).all()
    assert counts[CHANNELS.index("green"), 7] == (levels[..., 1] == 7).sum()


def test_luminance_is_rec_601_luma() -> None:
    levels = np.zeros((1, 1, 3), np.uint8)
    levels[0, 0] = (200, 100, 50)
    assert level_counts(levels)[0].argmax() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_counts_have_a_row_for_each_channel() -> None:
    values = np.array([[[0, 2], [0, 1], [3, 1]]])
    assert counts_by_channel(values, 4).tolist() == [[2, 0, 0, 1], [0, 2, 1, 0]]


def test_the_histogram_has_an_area_and_a_line_for_each_reconstruction() -> None:
    flat = level_counts(np.full((4, 4, 3), 9, np.uint8))[1]
    plot = histogram("red", flat, {0: flat, 3: flat})
    assert [key for key, _, _ in plot.lines] == [0, 3]
    assert plot.area.startswith("M0 100L0 100.0L") and "L9 0.0L" not in plot.area  # 5 % of room above


def test_an_image_that_is_clipped_everywhere_is_drawn() -> None:
    white = level_counts(np.full((4, 4, 3), 255, np.uint8))[1]
    assert "nan" not in str(asdict(histogram("red", white, {0: white})))


def test_values_and_intervals_lie_on_one_axis() -> None:
    plot = intervals([Estimate(2.0, 1.0, 3.0), None, Estimate(5.0), Estimate(math.nan)], reference=0.0)
    assert plot is not None and plot.height == 40
    first, third = plot.marks
    assert (first.x, first.low, first.high) == (65.0, 35.0, 95.0) and first.y == 5
    assert (third.x, third.low, third.y) == (155.0, None, 25) and plot.reference == (5.0, 0.0, 5.0, 40.0)


def test_one_candidate_is_drawn_among_the_others() -> None:
    plot = one_interval([Estimate(1.0), Estimate(2.0), Estimate(math.inf), None], own=1)
    assert plot is not None and plot.others == [5.0] and [mark.x for mark in plot.marks] == [155.0]
    alone = one_interval([Estimate(1.0), None], own=1)
    assert alone is not None and not alone.marks


@pytest.mark.parametrize("nothing", [[], [None], [Estimate(math.nan)], [Estimate(-math.inf)]])
def test_nothing_finite_gives_no_plot(nothing: list[Estimate | None]) -> None:
    assert intervals(nothing, reference=1.0) is None


def test_spectra_are_lines_over_the_area_of_the_images() -> None:
    flat = {"frequency": [0.1, 0.2, 0.4], "latents": [1.0, 1.0, 1.0], "data": [10.0, 1.0, 0.1]}
    plot = spectrum_plot([{}, flat])
    assert plot is not None
    assert plot.positions == [1] and plot.lines == [("candidate-1", "M0.0 50.0L127.5 50.0L255.0 50.0")]
    assert plot.area == "M0 100L0.0 0.0L127.5 50.0L255.0 100.0L255 100Z"
    assert (plot.low, plot.high, plot.decades) == ("0.1", "0.4", 2)


def test_rings_without_power_are_left_out_of_a_spectrum() -> None:
    holes = {"frequency": [0.1, 0.2, 0.4], "latents": [math.nan, 1.0, 0.0], "data": [1.0, math.nan, 0.5]}
    plot = spectrum_plot([holes])
    assert plot is not None and "nan" not in str(asdict(plot))
    assert spectrum_plot([{}]) is None
