import numpy as np
import pytest

from vaekit.report.crops import Levels, Window, busiest_window, worst_window


def gray(height: int = 200, width: int = 300, level: int = 128) -> Levels:
    return np.full((height, width, 3), level, np.uint8)


def test_the_worst_window_holds_the_error_of_the_worst_set() -> None:
    original, mild, bad = gray(), gray(), gray()
    mild[10:40, 10:40] += 10
    bad[100:160, 200:260, 1] -= 60
    worst = worst_window(original, {"mild": mild, "bad": bad})
    assert worst is not None and worst.candidate == "bad"
    window = worst.window
    assert (window.width, window.height) == (80, 80)
    assert window.x <= 200 and window.x + 80 >= 260 and window.y <= 100 and window.y + 80 >= 160
    difference = window.of(bad).astype(float) - window.of(original)
    assert worst.rms_error == pytest.approx(np.sqrt(np.square(difference).mean()))


def test_no_window_errs_more_than_the_worst() -> None:
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    other = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    worst = worst_window(original, {"one": other}, side=16)
    assert worst is not None
    squares = np.square(other.astype(float) - original)
    tried = [np.sqrt(squares[y : y + 16, x : x + 16].mean()) for y in range(35) for x in range(45)]
    assert worst.rms_error == pytest.approx(max(tried))


def test_the_busiest_window_is_where_the_lines_are() -> None:
    original = gray()
    original[110:180:4, 20:90] = 255
    window = busiest_window(original)
    assert window.x <= 20 and window.x + 80 >= 90 and window.y <= 110 and window.y + 80 >= 178


def test_where_nothing_is_to_be_found_it_is_the_middle() -> None:
    assert busiest_window(gray()) == Window(110, 60, 80, 80)
    worst = worst_window(gray(), {"same": gray()})
    assert worst is not None and worst.window == Window(110, 60, 80, 80) and worst.rms_error == 0
    assert worst_window(gray(), {}) is None


def test_windows_and_margins_end_where_the_image_does() -> None:
    small = gray(30, 1)
    assert busiest_window(small) == Window(0, 0, 1, 30)
    assert busiest_window(small).grown(24, small) == Window(0, 0, 1, 30)
    assert Window(10, 100, 80, 80).grown(24, gray()) == Window(0, 76, 114, 124)
