"""Droplets: small blobs that a reconstruction has and the original has not.

They are what a network leaves that keeps strong signals in a few places to get them past its normalization (Karras et
al. 2020, arXiv 1912.04958, section 2; in autoencoders: VIVAT, arXiv 2506.07863).
"""

import torch
from torch.nn import functional as F

from vaekit.metrics.image.levels import Plane, to_levels
from vaekit.shapes import Images, PerItem

CELL, STRIDE = 6, 3
"""Pixels of the windows over which the error is averaged, and from one to the next."""
AROUND = 9
"""Windows each way from which the error around a blob is read."""
LEAST, NOISE, TEXTURE = 8.0, 7.0, 0.6
"""Levels by which a blob stands out, at least: so many, and so many times the usual spread of such errors in the
image, and this part of the original's own deviation there, where an error of detail looks alike."""
EDGE = 24
"""Pixels from the edge within which an error is one of the border."""


def droplets(x: Images, y: Images) -> PerItem:
    """Droplets per million pixels. Images (b, 3, h, w) in [-1, 1], both sides >= 96 (below: 0).

    The means of y - x over windows of 6 x 6, without the mean of the 27 x 27 around each: a droplet is a local maximum
    of its size above 8 levels + 7 s + 0.6 t, with s the usual spread of this number over the image (1.4826 times its
    median absolute value) and t the deviation of x in the 27 x 27 pixels.

    >>> x = torch.zeros(1, 3, 100, 100)
    >>> y = x.clone()
    >>> y[:, :, 40:48, 60:68] += 0.5
    >>> droplets(x, y)
    tensor([100.])
    """
    pairs = zip(to_levels(x).mean(dim=1), to_levels(y).mean(dim=1), strict=True)
    return torch.tensor([1e6 * count_droplets(after - before, before) / before.numel() for before, after in pairs])


def count_droplets(residual: Plane, x: Plane, edge: int = EDGE) -> int:
    """How many droplets a residual (h, w) has, beside the plane x of the original; both in levels.

    Those within `edge` pixels of the edge are left out; 0 where four times that does not fit in.
    """
    if min(residual.shape) < 4 * edge:
        return 0
    means = F.avg_pool2d(torch.stack([residual, x, x.square()])[:, None], CELL, STRIDE)
    around = F.avg_pool2d(means, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)[:, 0]
    blob = (means[0, 0] - around[0]).abs()
    deviation = (around[2] - around[1].square()).clamp(min=0).sqrt()
    limit = LEAST + NOISE * 1.4826 * blob.median() + TEXTURE * deviation
    peak = F.max_pool2d(blob[None, None], 5, stride=1, padding=2)[0, 0]
    found = (blob > limit) & (blob == peak)
    margin = edge // STRIDE
    return int(found[margin:-margin, margin:-margin].sum())
