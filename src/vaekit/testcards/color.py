"""One colour from edge to edge: whatever structure comes back was put there by the VAE."""

from collections.abc import Sequence

import torch

from vaekit.shapes import Images

Colour = tuple[float, float, float]
"""Red, green and blue in [-1, 1]."""
COLOURS: tuple[Colour, ...] = (
    (0.0, 0.0, 0.0),
    (0.6, 0.6, 0.6),
    (-0.6, -0.6, -0.6),
    (0.6, -0.4, -0.4),
    (-0.4, 0.4, -0.4),
    (-0.4, -0.3, 0.5),
)
"""Three greys and three muted primaries, all far from the ends of the range, where clipping would hide errors."""


def flat_colours(size: tuple[int, int], colours: Sequence[Colour] = COLOURS) -> Images:
    """A picture (3, h, w) of each colour, as one batch (b, 3, h, w) in [-1, 1].

    >>> flat_colours((8, 16)).shape
    torch.Size([6, 3, 8, 16])
    """
    return torch.tensor(colours).view(len(colours), 3, 1, 1).repeat(1, 1, *size)
