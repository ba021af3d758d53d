"""The tone curve of a reconstruction: contrast, brightness and range of its luma against the original's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.color import REC_709
from vaekit.metrics.image.levels import to_levels
from vaekit.shapes import Images, PerItem

BLOCK = 8
ENDS = 0.005
"""The fraction of the pixels beyond each end of the range."""


@dataclass(frozen=True, eq=False)
class ToneCurve:
    """A line fitted from luma to luma, and the change of the range."""

    slope: PerItem
    """Contrast: 0.9 is 10 % less. NaN for images of one tone."""
    offset: PerItem
    """The level of 255 that black is mapped to. NaN for images of one tone."""
    shift: PerItem
    """Mean change, in levels of 255."""
    range: Float[Tensor, "b 2"]
    """The change of the dark and the light end, the 0.5th and 99.5th percentile of luma, in levels of 255."""


def tone_curve(x: Images, y: Images) -> ToneCurve:
    """The tone curve from x to y, images (b, 3, h, w) in [-1, 1].

        luma_y = slope luma_x + offset,   least squares over means of blocks of 8 x 8 pixels

    Means of blocks, so that lost detail hardly counts as lost contrast: about 1 % for a blur of one pixel.
    `metrics/image/color_change.py` has a fit that is robust against clipping and includes colors.

    >>> x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> curve = tone_curve(x, 0.9 * x)
    >>> round(curve.slope.item(), 3), round(curve.offset.item(), 2)
    (0.9, 12.75)
    """
    weights = torch.tensor(REC_709, device=x.device).view(3, 1, 1)
    before, after = ((to_levels(images) * weights).sum(dim=1) for images in (x, y))
    block = min(BLOCK, *x.shape[2:])
    first, second = (F.avg_pool2d(luma.unsqueeze(1), block).flatten(1) for luma in (before, after))
    middle = first.mean(dim=1, keepdim=True)
    spread = (first - middle).square().mean(dim=1)
    covariance = ((first - middle) * (second - second.mean(dim=1, keepdim=True))).mean(dim=1)
    slope = torch.where(spread > 1, covariance / spread, torch.nan)
    offset = second.mean(dim=1) - slope * middle.squeeze(1)
    rank = max(1, round(ENDS * before[0].numel()))
    ranks = (rank, before[0].numel() + 1 - rank)
    first, second = (
        torch.stack([luma.flatten(1).kthvalue(k, dim=1).values for k in ranks], dim=1) for luma in (before, after)
    )
    return ToneCurve(slope, offset, (after - before).mean(dim=(1, 2)), second - first)
