"""Choose crops of an image: the window with the largest error, and that with the most detail."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint8]
"""(h, w, 3): 8-bit levels of red, green and blue, sRGB-encoded."""

SIDE = 80
"""The side of a window in pixels; smaller for small images."""
MARGIN = 24
"""Pixels around a window that can be dragged into view."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, given by its top left corner and size."""

    x: int
    y: int
    width: int
    height: int

    def of(self, levels: Levels) -> Levels:
        """Crop an image to this window."""
        return levels[self.y : self.y + self.height, self.x : self.x + self.width]

    def grown(self, by: int, levels: Levels) -> "Window":
        """The window with a margin, clipped to the image."""
        height, width = levels.shape[:2]
        x, y = max(self.x - by, 0), max(self.y - by, 0)
        right, bottom = min(self.x + self.width + by, width), min(self.y + self.height + by, height)
        return Window(x, y, right - x, bottom - y)


@dataclass(frozen=True)
class Worst:
    """The window with the largest error of a candidate."""

    window: Window
    candidate: str
    rms_error: float
    """The root mean squared error over the window's pixels and channels, in levels of 255."""


def worst_window(original: Levels, reconstructions: Mapping[str, Levels], side: int = SIDE) -> Worst | None:
    """The window with the largest squared error over all candidates; None without candidates.

    Ties are broken by the order of candidates, then from the top left; without any error it is the center.
    """
    worst: Worst | None = None
    for name, levels in reconstructions.items():
        squares = np.square(levels.astype(np.int32) - original).sum(axis=2, dtype=np.int64)
        window, total = _densest(squares, side)
        rms = float(np.sqrt(total / (3 * window.width * window.height)))
        if worst is None or rms > worst.rms_error:
            worst = Worst(window, name, rms)
    return worst


def busiest_window(original: Levels, side: int = SIDE) -> Window:
    """The window with the most gradient energy, over all channels.

        E = sum (x[i, j+1] - x[i, j])^2 + (x[i+1, j] - x[i, j])^2

    Ties are broken from the top left; for a flat image it is the center.
    """
    levels = original.astype(np.int32)
    energy = np.zeros(original.shape[:2], np.int64)
    energy[:, :-1] += np.square(np.diff(levels, axis=1)).sum(axis=2)
    energy[:-1] += np.square(np.diff(levels, axis=0)).sum(axis=2)
    return _densest(energy, side)[0]


def _densest(energy: NDArray[np.int64], side: int) -> tuple[Window, int]:
    """The square window with the largest sum, by an exact summed-area table."""
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
