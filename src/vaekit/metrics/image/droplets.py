"""Droplets: small blobs in a reconstruction that the original does not have.

A network makes them that passes strong signals through its normalization at a few places (Karras et al. 2020, arXiv
1912.04958, section 2; in autoencoders: VIVAT, arXiv 2506.07863).
"""

import torch
from torch.nn import functional as F

from vaekit.metrics.image.levels import Plane, to_levels
from vaekit.shapes import Images, PerItem

CELL, STRIDE = 6, 3
"""The size and the stride of the windows over which the error is averaged, in pixels."""
AROUND = 9
"""The side of the neighborhood of a blob, in windows."""
LEAST, NOISE, TEXTURE = 8.0, 7.0, 0.6
"""The threshold of a blob in levels: a constant, plus a multiple of the robust standard deviation of such errors in the
image, plus a fraction of the local standard deviation of the original, where errors of detail look alike."""
EDGE = 24
"""The width of the border in pixels; errors there are border artefacts."""


def droplets(x: Images, y: Images) -> PerItem:
    """Droplets per million pixels. Images (b, 3, h, w) in [-1, 1], both sides >= 96 (below: 0).

    The means of y - x over windows of 6 x 6, without the mean of the 27 x 27 around each: a droplet is a local maximum
    of its size above 8 levels + 7 s + 0.6 t, with s the robust standard deviation of this difference over the image
    (1.4826 times its median absolute value) and t the standard deviation of x in the 27 x 27 pixels.

    >>> x = torch.zeros(1, 3, 100, 100)
    >>> y = x.clone()
    >>> y[:, :, 40:48, 60:68] += 0.5
    >>> droplets(x, y)
    tensor([100.])
    """
    pairs = zip(to_levels(x).mean(dim=1), to_levels(y).mean(dim=1), strict=True)
    return torch.tensor([1e6 * count_droplets(after - before, before) / before.numel() for before, after in pairs])


def count_droplets(residual: Plane, x: Plane, edge: int = EDGE) -> int:
    """The number of droplets in a residual (h, w), given the plane x of the original; both in levels.

    Those within `edge` pixels of the edge are left out; 0 if a side is shorter than four times that.
    """
    if min(residual.shape) < 4 * edge:
        return 0
    means = F.avg_pool2d(torch.stack([residual, x, x.square()])[:, None], CELL, STRIDE)
    nearby = F.avg_pool2d(means, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)[:, 0]
    blob = (means[0, 0] - nearby[0]).abs()
    std = (nearby[2] - nearby[1].square()).clamp(min=0).sqrt()
    limit = LEAST + NOISE * 1.4826 * blob.median() + TEXTURE * std
    peak = F.max_pool2d(blob[None, None], 5, stride=1, padding=2)[0, 0]
    is_droplet = (blob > limit) & (blob == peak)
    margin = edge // STRIDE
    return int(is_droplet[margin:-margin, margin:-margin].sum())
