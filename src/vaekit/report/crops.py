"""Where to look closer: windows of an image that are found, not picked by hand."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]
"""(h, w, 3): 8-bit levels of red, green and blue, sRGB-encoded."""

SIDE = 80
"""Pixels of a window; less where the image is smaller."""
MARGIN = 24
"""Pixels around a window that can be dragged into view."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, from its top left corner."""

    x: int
    y: int
    width: int
    height: int

    def of(self, levels: Levels) -> Levels:
        """These pixels of an image."""
        return levels[self.y : self.y + self.height, self.x : self.x + self.width]

    def grown(self, by: int, levels: Levels) -> "Window":
        """With a margin, as far as the image goes."""
        height, width = levels.shape[:2]
        x, y = max(self.x - by, 0), max(self.y - by, 0)
        right, bottom = min(self.x + self.width + by, width), min(self.y + self.height + by, height)
        return Window(x, y, right - x, bottom - y)


@dataclass(frozen=True)
class Worst:
    """The window in which one set errs most."""

    window: Window
    set_name: str
    rms_error: float
    """Root of the mean squared error over the window's pixels and channels, in levels of 255."""


def worst_window(original: Levels, reconstructions: Mapping[str, Levels], side: int = SIDE) -> Worst | None:
    """Of all windows and all sets the one with the largest squared error; None without sets.

    Equals are decided by the order of sets, then from the top left; where no set errs it is the middle.
    """
    found: Worst | None = None
    for name, levels in reconstructions.items():
        squares = np.square(levels.astype(np.int32) - original).sum(axis=2, dtype=np.int64)
        window, total = _densest(squares, side)
        rms = float(np.sqrt(total / (3 * window.width * window.height)))
        if found is None or rms > found.rms_error:
            found = Worst(window, name, rms)
    return found


def busiest_window(original: Levels, side: int = SIDE) -> Window:
    """The window with the most gradient energy, over all channels.

        E = sum (x[i, j+1] - x[i, j])^2 + (x[i+1, j] - x[i, j])^2

    Of equals the first from the top left; of a flat image the middle.
    """
    levels = original.astype(np.int32)
    energy = np.zeros(original.shape[:2], np.int64)
    energy[:, :-1] += np.square(np.diff(levels, axis=1)).sum(axis=2)
    energy[:-1] += np.square(np.diff(levels, axis=0)).sum(axis=2)
    return _densest(energy, side)[0]


def _densest(energy: NDArray[np.int64], side: int) -> tuple[Window, int]:
    """The square window with the largest sum, by a table of sums over all rectangles from the corner: exact."""
    rows, columns = energy.shape
    height, width = min(side, rows), min(side, columns)
    sums = np.zeros((rows + 1, columns + 1), np.int64)
    np.cumsum(energy, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = divmod(int(inside.argmax()), inside.shape[1])
    if not inside[y, x]:
        y, x = (rows - height) // 2, (columns - width) // 2
    return Window(x, y, width, height), int(inside[y, x])
