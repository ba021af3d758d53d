"""Corner and border artefacts: error that a reconstruction has along its edges and not inside."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.levels import Plane, to_levels
from vaekit.shapes import Images, PerItem

BLOCK = 8
CORNER, SIDE = 3, 2
"""Blocks that a corner has each way, and that a border is wide."""
EXPECTED = 0.95
"""The part of all places inside whose error is below what an edge's error is compared with."""


def border_error(x: Images, y: Images) -> PerItem:
    """By how much the worst corner or side is off, in levels of 255. Images (b, 3, h, w) in [-1, 1].

        error = max_places sqrt(max(0, e^2 - q^2))

    with e the root mean square, over a corner (24 x 24 pixels) or a side (16 pixels wide, corners left out), of the
    means of y - x over blocks of 8 x 8, and q^2 the 95th percentile of e^2 over places inside of the same size as the
    corner. Block means, so that lost texture does not count. Images below 96 pixels a side give 0.

    >>> x = torch.zeros(1, 3, 128, 128)
    >>> y = x.clone()
    >>> y[:, :, :24, :24] += 20 / 127.5
    >>> round(border_error(x, y).item())
    20
    """
    return torch.tensor([worst_edge((b - a).mean(dim=0)) for a, b in zip(to_levels(x), to_levels(y), strict=True)])


def worst_edge(residual: Plane, skipped: int = 0) -> float:
    """The same for a residual (h, w) in levels, whose outermost pixels, so many of them, are left out."""
    inner = residual[skipped : residual.shape[0] - skipped, skipped : residual.shape[1] - skipped]
    if min(inner.shape) < 12 * BLOCK:
        return 0.0
    squares = _squares(inner)
    inside = F.avg_pool2d(squares[None, None, CORNER:-CORNER, CORNER:-CORNER], CORNER, stride=1).flatten()
    usual = inside.quantile(EXPECTED).item()
    corners = [squares[rows, columns] for rows in _ENDS for columns in _ENDS]
    sides = [squares[rows, CORNER:-CORNER] for rows in _STRIPS] + [squares[CORNER:-CORNER, rows] for rows in _STRIPS]
    # A side has many more blocks than a corner and is compared with the typical place, not with a rare one.
    middle = inside.mean().item()
    excess = [max(0.0, place.mean().item() - usual) for place in corners]
    excess += [max(0.0, place.mean().item() - max(2 * middle, 0.5 * usual)) for place in sides]
    return max(excess) ** 0.5


_ENDS = (slice(None, CORNER), slice(-CORNER, None))
_STRIPS = (slice(None, SIDE), slice(-SIDE, None))


def _squares(residual: Plane) -> Tensor:
    """Squares of the means of blocks, laid from the middle: at most 4 pixels of each edge belong to none."""
    starts = [side % BLOCK // 2 for side in residual.shape]
    return F.avg_pool2d(residual[None, None, starts[0] :, starts[1] :], BLOCK)[0, 0].square()
