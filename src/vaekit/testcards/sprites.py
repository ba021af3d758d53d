"""Sprites: images with known generating factors, one white shape on black, as in dSprites (Matthey et al. 2017).

Shape (square, ellipse, heart), scale (6, from 0.5 to 1), orientation (40), and position (32 x 32). The original is a
file of 737,280 images; these follow its description, but differ in pixels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from vaekit.shapes import Images

COUNTS = (3, 6, 40, 32, 32)
"""The number of values of each factor."""
NAMES = ("shape", "scale", "orientation", "x", "y")
SIDE = 64
RADIUS = 11.0
"""Half the side of the square at full scale, in pixels."""
MARGIN = 16.0
"""The least distance of centers from the border, so that every shape is complete."""
FINER = 4
"""Samples along each side of a pixel for antialiasing."""

AT_ONCE = 64
"""Images that are drawn at once; each takes a megabyte of temporary memory."""

Grid = Float[Tensor, "n rows columns"]


@dataclass(frozen=True)
class Sprites:
    """Images and their generating factors."""

    images: Images
    """(n, 1, 64, 64) in [-1, 1]: white is inside."""
    factors: Int[Tensor, "n 5"]
    """In the order of `NAMES`."""


def sprites(count: int, generator: Generator) -> Sprites:
    """Draw `count` sprites with uniformly distributed factors."""
    factors = torch.stack([torch.randint(n, (count,), generator=generator) for n in COUNTS], dim=1)
    return Sprites(torch.cat([drawn(some) for some in factors.split(AT_ONCE)]), factors)


def drawn(factors: Int[Tensor, "n 5"]) -> Images:
    """The image of each row of factors."""
    shape, scale, turn, column, row = factors.unbind(1)
    size = RADIUS * (0.5 + 0.1 * scale)
    angle = turn * (2 * math.pi / COUNTS[2])
    center_x, center_y = (MARGIN + place * ((SIDE - 2 * MARGIN) / (COUNTS[3] - 1)) for place in (column, row))
    at = (torch.arange(SIDE * FINER) + 0.5) / FINER
    x = (at[None, None, :] - center_x[:, None, None]) / size[:, None, None]
    y = (at[None, :, None] - center_y[:, None, None]) / size[:, None, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v = cosine * x + sine * y, cosine * y - sine * x
    inside = torch.stack([square(u, v), ellipse(u, v), heart(u, v)])
    chosen = inside[shape, torch.arange(len(factors))].float()
    covered = torch.nn.functional.avg_pool2d(chosen.unsqueeze(1), FINER)
    return (covered > 0.5).float() * 2 - 1


def square(u: Grid, v: Grid) -> Tensor:
    """Whether points are inside."""
    return (u.abs() < 0.9) & (v.abs() < 0.9)


def ellipse(u: Grid, v: Grid) -> Tensor:
    """Whether points are inside: twice as long as wide."""
    return (u / 0.6).square() + (v / 1.2).square() < 1


def heart(u: Grid, v: Grid) -> Tensor:
    """Whether points are inside the curve (u^2 + w^2 - 1)^3 = u^2 w^3, with w upwards."""
    w = -1.1 * v
    u = 1.1 * u
    return (u.square() + w.square() - 1) ** 3 < u.square() * w**3
