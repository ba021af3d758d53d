"""Fried pixels: isolated outlier pixels of a reconstruction that the original does not explain."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from vaekit.metrics.image.color import LUMA
from vaekit.metrics.image.levels import LOWEST, LevelCurve, level_curve, to_levels
from vaekit.shapes import Images, PerItem

Bytes = UInt8[Tensor, "c h w"]

EDGE = 4
LEAST = 48
"""The least difference, in levels, of a fried pixel to its neighbors and to the level that its original has
elsewhere."""
FACTOR = 3
"""Where the original has an outlier itself, the threshold rises by this multiple of it: sharpening enlarges
outliers."""


def fried_pixels(x: Images, y: Images) -> PerItem:
    """The share of fried pixels of each image, in parts per million. Images (b, 3, h, w) in [-1, 1], h, w >= 3.

    A pixel is fried where in some channel, in levels of 255,

        |y - median_3x3(y)| > 48 + 3 max_3x3 |x - median_3x3(x)|   and   |y - c(x)| > 48

    with c(level) the median of y over all pixels where x has that level, so that a change of tone does not count;
    likewise with the luma of x, and with x itself in place of c. The outermost four pixels are left out, where filters
    have border effects. Examples: salt-and-pepper noise, and speckles of a network that overflows.

    >>> x = torch.zeros(1, 3, 20, 20)
    >>> y = x.clone()
    >>> y[0, :, 4, 7] = 1
    >>> fried_pixels(x, y)
    tensor([2500.])
    """
    shares = []
    for before, after in zip(to_levels(x), to_levels(y), strict=True):
        curves = [level_curve(a, b) for a, b in zip(before, after, strict=True)]
        first, second = (planes.round().clamp(0, 255).to(torch.uint8) for planes in (before, after))
        shares.append(1e6 * fried_mask(first, second, curves).float().mean())
    return torch.stack(shares)


def fried_mask(x: Bytes, y: Bytes, curves: list[LevelCurve]) -> Tensor:
    """The mask (h, w), bool, of fried pixels, given the level curve of each channel."""
    apart = _apart(y)
    own = _apart(x)
    # In uint8, without overflow: apart > LEAST + FACTOR limit is (apart - LEAST - 1) // FACTOR >= limit.
    mask = (apart > LEAST) & ((apart.clamp(min=LEAST + 1) - (LEAST + 1)) // FACTOR >= _largest3x3(own))
    if not mask.any():
        return mask.any(dim=0)
    inside = torch.zeros_like(mask[0])
    inside[EDGE:-EDGE, EDGE:-EDGE] = True
    luma = torch.einsum("c,chw->hw", torch.tensor(LUMA), x.float()).round()
    fried = torch.zeros_like(inside)
    for channel, curve in enumerate(curves):
        candidates = mask[channel] & inside
        if not candidates.any():
            continue
        values = y[channel].float()
        by_luma = level_curve(luma, values)
        candidates &= (values - x[channel].float()).abs() > LEAST
        for became, levels in ((curve, x[channel]), (by_luma, luma)):
            places = levels[candidates].long() - LOWEST
            # A discontinuous curve may jump within the rounding of a level.
            near = torch.stack([became.median[places + step] for step in (-1, 0, 1)])
            candidates[candidates.clone()] = ((values[candidates] - near).abs() > LEAST).all(dim=0)
        fried |= candidates
    return fried


def _apart(planes: Bytes) -> Tensor:
    """The distance of each pixel to the median of its 3x3 neighborhood, uint8; mirrored at the edges."""
    middle = median3x3(planes)
    return torch.maximum(planes, middle) - torch.minimum(planes, middle)


def median3x3(planes: Bytes) -> Bytes:
    """The median of the 3x3 pixels around each pixel, mirrored at the edges.

    Sort each column of three, then: the median of (the largest minimum, the median median, the smallest maximum).
    """
    rows = torch.cat([planes[:, 1:2], planes, planes[:, -2:-1]], dim=1)
    a, b, c = rows[:, :-2], rows[:, 1:-1], rows[:, 2:]
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    columns = torch.minimum(low, c), torch.maximum(low, torch.minimum(high, c)), torch.maximum(high, c)
    lows, middles, highs = (torch.cat([each[:, :, 1:2], each, each[:, :, -2:-1]], dim=2) for each in columns)
    lowest = torch.maximum(torch.maximum(lows[..., :-2], lows[..., 1:-1]), lows[..., 2:])
    highest = torch.minimum(torch.minimum(highs[..., :-2], highs[..., 1:-1]), highs[..., 2:])
    return _median(lowest, _median(middles[..., :-2], middles[..., 1:-1], middles[..., 2:]), highest)


def _largest3x3(planes: Bytes) -> Bytes:
    """The maximum of the 3x3 neighborhood of each pixel, as far as it lies in the image."""
    rows = planes.clone()
    rows[:, 1:] = torch.maximum(rows[:, 1:], planes[:, :-1])
    rows[:, :-1] = torch.maximum(rows[:, :-1], planes[:, 1:])
    largest = rows.clone()
    largest[..., 1:] = torch.maximum(largest[..., 1:], rows[..., :-1])
    largest[..., :-1] = torch.maximum(largest[..., :-1], rows[..., 1:])
    return largest


def _median(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))
