"""Corner and border artefacts: errors near the borders of a reconstruction that its interior does not have."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.levels import Plane, to_levels
from vaekit.shapes import Images, PerItem

BLOCK = 8
CORNER, SIDE = 3, 2
"""The side of a corner and the width of a border, in blocks."""
EXPECTED = 0.95
"""The quantile of the errors inside that the error of a border is compared with."""


def border_error(x: Images, y: Images) -> PerItem:
    """The excess error of the worst corner or side, in levels of 255. Images (b, 3, h, w) in [-1, 1].

        error = max_places sqrt(max(0, e^2 - q^2))

    with e the root mean square, over a corner (24 x 24 pixels) or a side (16 pixels wide, corners left out), of the
    means of y - x over blocks of 8 x 8, and q^2 the 95th percentile of e^2 over interior windows of the size of a
    corner. Block means, so that lost texture does not count. Images below 96 pixels a side give 0.

    >>> x = torch.zeros(1, 3, 128, 128)
    >>> y = x.clone()
    >>> y[:, :, :24, :24] += 20 / 127.5
    >>> round(border_error(x, y).item())
    20
    """
    return torch.tensor([worst_edge((b - a).mean(dim=0)) for a, b in zip(to_levels(x), to_levels(y), strict=True)])


def worst_edge(residual: Plane, skipped: int = 0) -> float:
    """The same for a residual (h, w) in levels, without its outermost `skipped` pixels."""
    inner = residual[skipped : residual.shape[0] - skipped, skipped : residual.shape[1] - skipped]
    if min(inner.shape) < 12 * BLOCK:
        return 0.0
    squares = _squares(inner)
    inside = F.avg_pool2d(squares[None, None, CORNER:-CORNER, CORNER:-CORNER], CORNER, stride=1).flatten()
    usual = inside.quantile(EXPECTED).item()
    corners = [squares[rows, columns] for rows in _ENDS for columns in _ENDS]
    sides = [squares[rows, CORNER:-CORNER] for rows in _STRIPS] + [squares[CORNER:-CORNER, rows] for rows in _STRIPS]
    # A side has many more blocks than a corner and is compared with the mean error inside, not with a high quantile.
    middle = inside.mean().item()
    excess = [max(0.0, place.mean().item() - usual) for place in corners]
    excess += [max(0.0, place.mean().item() - max(2 * middle, 0.5 * usual)) for place in sides]
    return max(excess) ** 0.5


_ENDS = (slice(None, CORNER), slice(-CORNER, None))
_STRIPS = (slice(None, SIDE), slice(-SIDE, None))


def _squares(residual: Plane) -> Tensor:
    """Squared means of blocks. The grid of blocks is centered: at most 4 pixels at each edge belong to no block."""
    starts = [side % BLOCK // 2 for side in residual.shape]
    return F.avg_pool2d(residual[None, None, starts[0] :, starts[1] :], BLOCK)[0, 0].square()
