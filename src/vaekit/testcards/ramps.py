"""Ramps over all levels from dark to light: bands and steps in the reconstruction are artefacts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaekit.shapes import Images
from vaekit.testcards.color import Color

PRIMARIES: tuple[Color, ...] = (
    (1.0, -1.0, -1.0),
    (1.0, 1.0, -1.0),
    (-1.0, 1.0, -1.0),
    (-1.0, 1.0, 1.0),
    (-1.0, -1.0, 1.0),
    (1.0, -1.0, 1.0),
)
"""Red, yellow, green, cyan, blue, magenta."""
BLACK: Color = (-1.0, -1.0, -1.0)
WHITE: Color = (1.0, 1.0, 1.0)


def ramp(size: tuple[int, int], start: Color = BLACK, end: Color = WHITE, vertical: bool = False) -> Images:
    """A smooth ramp (1, 3, h, w) from one color at the left edge to another at the right; with `vertical` from top to
    bottom. Straight in sRGB values.

    >>> ramp((1, 3))[0, 0]
    tensor([[-1.,  0.,  1.]])
    """
    height, width = size
    along = torch.linspace(0, 1, height if vertical else width)
    along = along[:, None] if vertical else along[None]
    first, last = (torch.tensor(color).view(1, 3, 1, 1) for color in (start, end))
    return (first + along * (last - first)).expand(1, 3, height, width).contiguous()


def color_ramps(size: tuple[int, int], colors: Sequence[Color] = PRIMARIES, vertical: bool = False) -> Images:
    """Ramps from black over a pure color to white, one strip for each color: rows of (1, 3, h, w), or columns with
    `vertical`.

    >>> color_ramps((12, 16)).shape
    torch.Size([1, 3, 12, 16])
    """
    height, width = size
    length, across = (height, width) if vertical else (width, height)
    along = torch.linspace(0, 2, length)
    pure = torch.tensor(colors)[_strips(across, len(colors))].T[:, :, None]  # (3, across, 1)
    to_color, to_white = along.clamp(max=1), (along - 1).clamp(min=0)
    image = -1 + (pure + 1) * to_color + (1 - pure) * to_white
    return (image.transpose(1, 2) if vertical else image)[None].contiguous()


def _strips(pixels: int, count: int) -> Tensor:
    """The index of the strip of each pixel, for `count` equal strips."""
    return torch.arange(pixels) * count // max(1, pixels)
