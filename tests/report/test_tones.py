import numpy as np
import pytest

from vaekit.report.plots import histogram
from vaekit.report.tones import CHANNELS, histograms


def test_every_pixel_is_counted_once_at_its_level() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    found = histograms(levels)
    assert tuple(found) == CHANNELS
    assert all(one.counts.sum() == 17 * 23 and one.counts.shape == (256,) for one in found.values())
    assert found["green"].counts[7] == (levels[..., 1] == 7).sum()


def test_clipped_shares() -> None:
    levels = np.full((10, 10, 3), 100, np.uint8)
    levels[:2] = 255
    levels[2, :, 0] = 0
    found = histograms(levels)
    assert found["luminance"].white == pytest.approx(0.2) and found["luminance"].black == 0
    assert found["red"].black == pytest.approx(0.1) and found["blue"].black == 0


def test_luminance_is_rec_601_luma() -> None:
    levels = np.zeros((1, 1, 3), np.uint8)
    levels[0, 0] = (200, 100, 50)
    assert histograms(levels)["luminance"].counts.argmax() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_the_drawing_has_an_area_and_a_line_for_each_set() -> None:
    flat = histograms(np.full((4, 4, 3), 9, np.uint8))["red"]
    drawing = histogram(flat, {0: flat, 3: flat}, "red")
    assert drawing.count('class="area"') == 1 and drawing.count("line set-") == 2
    assert "L9 0.0L" not in drawing and "nan" not in drawing


def test_a_picture_that_is_clipped_everywhere_is_drawn() -> None:
    white = histograms(np.full((4, 4, 3), 255, np.uint8))["red"]
    assert "nan" not in histogram(white, {0: white}, "red")
