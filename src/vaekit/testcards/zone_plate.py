"""The zone plate: all spatial frequencies in all directions."""

import math

import torch

from vaekit.shapes import Images

AMPLITUDE = 0.8
FADE = (0.45, 0.5)
"""The frequencies in cycles per pixel between which the rings fade to mid gray, to avoid aliasing."""


def zone_plate(size: tuple[int, int]) -> Images:
    """Rings around the middle (1, 3, h, w) whose frequency grows with the distance r from it, in pixels.

        v = 0.8 cos(pi r^2 / L),  frequency r / L cycles per pixel,  L the longer side

    so that the Nyquist frequency is reached at the middle of the shorter edges; from 0.45 on the rings fade to gray.
    Other rings in the reconstruction are aliasing.

    >>> zone_plate((9, 9))[0, 0, 4, 4]
    tensor(0.8000)
    """
    height, width = size
    longer = max(height, width)
    rows = torch.arange(height) - (height - 1) / 2
    columns = torch.arange(width) - (width - 1) / 2
    squared = rows[:, None].square() + columns.square()
    frequency = squared.sqrt() / longer
    fade = ((FADE[1] - frequency) / (FADE[1] - FADE[0])).clamp(0, 1)
    rings = AMPLITUDE * fade * torch.cos(math.pi * squared / longer)
    return rings.expand(1, 3, -1, -1).contiguous()
