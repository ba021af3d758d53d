"""Ringing: halos beside strong edges."""

import math

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.color import LEVELS_PER_UNIT, Planes
from vaekit.shapes import PerItem

REACH = 4
"""The distance in pixels up to which ripples count: those of the coarsest detail that an f8 VAE blurs are this near."""


def ringing(x: Planes, y: Planes, edges: Bool[Tensor, "b i j"]) -> PerItem:
    """The overshoot of luma y (b, h, w) past the local range of the original x, near strong edges of the original.

        overshoot = max( y - max_N x,  min_N x - y,  0 )      N: 9x9 neighborhood
        ringing = mean of overshoot over pixels within 4 of a strong edge

    in 8-bit levels; 0 is best; NaN for an image without edges. `edges` (b, h - 2, w - 2) are `strongest_edges` of the
    gradient of x. Blur alone gives 0. Noise on the flat side of an edge counts too.

    >>> from vaekit.metrics.image.gradients import gradient, strongest_edges
    >>> x = torch.cat([-torch.ones(1, 32, 16), torch.ones(1, 32, 16)], dim=2) / 2
    >>> edges = strongest_edges(gradient(x))
    >>> ringing(x, x, edges), ringing(x, x * 1.1, edges)
    (tensor([0.]), tensor([6.3750]))
    """
    highest = _local_most(x)
    lowest = _local_most(-x).neg_()
    overshoot = torch.maximum(y - highest, lowest - y).clamp_(min=0)
    near = _local_most(F.pad(edges.float(), (1, 1, 1, 1)))
    return (overshoot * near).sum(dim=(1, 2)) / near.sum(dim=(1, 2)) * LEVELS_PER_UNIT


def _local_most(plane: Planes) -> Planes:
    """The largest value in the square of `REACH` pixels to each side of each pixel, clipped to the plane.

    Maxima of 2, 4, 8 neighbors and then of all 9, first along columns, then along rows: four steps each.
    """
    for axis in (1, 2):
        size = plane.shape[axis]
        behind = [0, 0, 0, 0]
        behind[5 - 2 * axis] = behind[4 - 2 * axis] = REACH
        padded = F.pad(plane, behind, value=-math.inf)
        reached = 1
        while reached < 2 * REACH + 1:
            step = min(reached, 2 * REACH + 1 - reached)
            length = padded.shape[axis] - step
            padded = torch.maximum(padded.narrow(axis, 0, length), padded.narrow(axis, step, length))
            reached += step
        plane = padded.narrow(axis, 0, size)
    return plane
