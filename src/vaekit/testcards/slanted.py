"""Slanted edges: straight edges of several contrasts, rotated by a few degrees, for MTF and halos."""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import Images

SLANT = 5.0
"""Degrees, as in ISO 12233."""
GROUND = -0.05
"""The background of the squares, a mid gray in [-1, 1]."""
SQUARES = (-0.9, 0.9, -0.45, 0.4, 0.12, -0.24, 0.65, -0.7, -0.14, 0.25, -0.35, 0.05)
"""Values of the squares, in order: contrasts from 0.1 to 0.95."""
CELL = 192
"""The approximate side in pixels of a cell with one square."""
SIDE = 0.56
"""The side of a square, in sides of its cell."""
STEPS = 8
"""Samples along each side of a pixel for antialiasing."""


@dataclass(frozen=True)
class SlantedEdge:
    """One edge in a card: its window and orientation."""

    rows: slice
    columns: slice
    vertical: bool
    """Whether it is near-vertical; else transpose the window before `mtf50`."""
    values: tuple[float, float]
    """Left and right of it, or above and below it."""

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns, to index the last two axes of an image with."""
        return self.rows, self.columns


@dataclass(frozen=True, eq=False)
class SlantedCard:
    """An image of edges and their places."""

    image: Images
    """(1, 3, h, w)."""
    edges: tuple[SlantedEdge, ...]


def slanted_edges(size: tuple[int, int]) -> SlantedCard:
    """Gray squares on gray, one in each cell of about 192 pixels, rotated by 5 degrees: each has four edges.

    Pixels on an edge have the mean over their area.

    >>> card = slanted_edges((192, 384))
    >>> card.image.shape, len(card.edges), card.edges[0].vertical
    (torch.Size([1, 3, 192, 384]), 8, True)
    """
    height, width = size
    tops, lefts = _cuts(height), _cuts(width)
    image = torch.full((height, width), GROUND)
    edges: list[SlantedEdge] = []
    cells = [(top, bottom, *across) for top, bottom in itertools.pairwise(tops) for across in itertools.pairwise(lefts)]
    for number, (top, bottom, left, right) in enumerate(cells):
        value = SQUARES[number % len(SQUARES)]
        side = SIDE * min(bottom - top, right - left)
        cover = _square(bottom - top, right - left, side)
        image[top:bottom, left:right] = GROUND + (value - GROUND) * cover
        edges += _edges_around((top + bottom) / 2, (left + right) / 2, side, value)
    return SlantedCard(image.expand(1, 3, -1, -1).contiguous(), tuple(edges))


def _cuts(length: int) -> list[int]:
    """Where cells begin and end along one side."""
    cells = max(1, round(length / CELL))
    return [i * length // cells for i in range(cells + 1)]


def _square(height: int, width: int, side: float) -> Tensor:
    """The part of each pixel of a cell that a rotated square in its middle covers: (height, width)."""
    fine = (torch.arange(STEPS) + 0.5) / STEPS
    rows, columns = ((torch.arange(length)[:, None] + fine).flatten() - length / 2 for length in (height, width))
    turn = math.radians(SLANT)
    across = rows[:, None] * math.sin(turn) + columns * math.cos(turn)
    down = rows[:, None] * math.cos(turn) - columns * math.sin(turn)
    inside = torch.maximum(across.abs(), down.abs()) <= side / 2
    return F.avg_pool2d(inside.float()[None], STEPS)[0]


def _edges_around(row: float, column: float, side: float, value: float) -> list[SlantedEdge]:
    """The places of a square's left, right, upper and lower edge, without its corners."""
    away, along, across = side / 2, 0.3 * side, 0.34 * side
    edges = []
    for vertical in (True, False):
        for sign in (-1, 1):
            middle = (row, column + sign * away) if vertical else (row + sign * away, column)
            reach = (along, across) if vertical else (across, along)
            rows, columns = (slice(round(m - r), round(m + r)) for m, r in zip(middle, reach, strict=True))
            values = (GROUND, value) if sign < 0 else (value, GROUND)
            edges.append(SlantedEdge(rows, columns, vertical, values))
    return edges
