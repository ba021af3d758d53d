"""Smooth maps of values with a Gaussian window."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

REACH = 2.5
"""The radius of the window, in units of sigma."""


def smoothed(maps: Float[Tensor, "b h w"], sigma: float) -> Float[Tensor, "b h w"]:
    """The mean of each map under a Gaussian window around each place.

    At the borders the window is cut off, so that a constant map stays as it is, and every place is a mean of values of
    the map.

    Args:
        maps: (b, h, w).
        sigma: of the window, in pixels; 0 changes nothing.

    >>> smoothed(torch.ones(1, 3, 5), 2.0).round(decimals=5).unique()
    tensor([1.])
    """
    if sigma <= 0:
        return maps
    offsets = torch.arange(
        -math.ceil(REACH * sigma), math.ceil(REACH * sigma) + 1, dtype=maps.dtype, device=maps.device
    )
    window = (-0.5 * (offsets / sigma).square()).exp()
    sums = _windowed(maps[:, None], window)
    weights = _windowed(torch.ones_like(maps[:1, None]), window)
    return (sums / weights)[:, 0]


def _windowed(maps: Tensor, window: Tensor) -> Tensor:
    """Sums under a separable window, of zeros beyond the borders."""
    reach = len(window) // 2
    along_rows = F.conv2d(maps, window.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(along_rows, window.view(1, 1, -1, 1), padding=(reach, 0))
