"""Contrast gain and number of colors: measures that users of image VAEs publish.

Gradient retention is in `gradients.py`, green and blue shift in `color.py`. The names are from
civitai.com/articles/30734, whose script is not published; the definitions here are the simplest that fit its text.
"""

import torch

from vaekit.metrics.image.color import Planes
from vaekit.metrics.image.levels import nearest_levels
from vaekit.shapes import Images, PerItem


def contrast_gain(x: Planes, y: Planes) -> PerItem:
    """The standard deviation of the luma y (b, h, w) of a reconstruction over that of the original, x.

        std(y) / std(x)

    No unit; 1 is the same contrast, below is flatter (0.81 was reported for SDXL's VAE). NaN for a flat original.

    >>> x = torch.rand(1, 64, 64)
    >>> contrast_gain(x, 0.5 * x + 0.1)
    tensor([0.5000])
    """
    return y.std(dim=(1, 2)) / x.std(dim=(1, 2))


def distinct_colors(x: Images) -> PerItem:
    """The number of distinct colors of images (b, 3, h, w) in [-1, 1] as 8-bit files, as float32.

    A count between 1 and h w. No direction is better: compare with the original.

    >>> distinct_colors(torch.linspace(-1, 1, 256).expand(1, 3, 2, 256))
    tensor([256.])
    """
    levels = nearest_levels(x).nan_to_num_().to(torch.int32)
    packed = levels[:, 0]
    for channel in levels[:, 1:].unbind(dim=1):
        packed = packed * 256 + channel
    counts = [_distinct(one.flatten()) for one in packed]
    return torch.tensor(counts, dtype=torch.float32, device=x.device)


def _distinct(values: torch.Tensor) -> int:
    ordered = values.sort().values
    return int((ordered[1:] != ordered[:-1]).sum()) + 1
