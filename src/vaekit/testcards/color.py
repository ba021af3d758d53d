"""Uniform colors: any structure in the reconstruction is an artefact."""

from collections.abc import Sequence

import torch

from vaekit.shapes import Images

Color = tuple[float, float, float]
"""Red, green and blue in [-1, 1]."""
COLORS: tuple[Color, ...] = (
    (0.0, 0.0, 0.0),
    (0.6, 0.6, 0.6),
    (-0.6, -0.6, -0.6),
    (0.6, -0.4, -0.4),
    (-0.4, 0.4, -0.4),
    (-0.4, -0.3, 0.5),
)
"""Three grays and three muted primaries, all far from the ends of the range, since clipping would hide errors."""


def flat_colors(size: tuple[int, int], colors: Sequence[Color] = COLORS) -> Images:
    """An image (3, h, w) of each color, as one batch (b, 3, h, w) in [-1, 1].

    >>> flat_colors((8, 16)).shape
    torch.Size([6, 3, 8, 16])
    """
    return torch.tensor(colors).view(len(colors), 3, 1, 1).repeat(1, 1, *size)
