"""MS-SSIM: structural similarity over five scales (Wang, Simoncelli, Bovik 2003, Asilomar Conf. Signals)."""

import torch
from torch.nn import functional as F

from vaekit.metrics.image.ssim import WINDOW, similarity
from vaekit.shapes import Images, PerItem

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of the five scales, from fine to coarse, as measured in the paper (section 3.2)."""


def scales_that_fit(height: int, width: int) -> int:
    """The number of scales, at least one, that are large enough for SSIM's 11x11 window: all five from 176x176 on.

    >>> scales_that_fit(512, 768), scales_that_fit(128, 128), scales_that_fit(8, 8)
    (5, 4, 1)
    """
    return max(1, sum(min(height, width) >> scale >= WINDOW for scale in range(len(WEIGHTS))))


def ms_ssim(x: Images, y: Images) -> PerItem:
    """The multi-scale structural similarity of each pair of images (b, 3, h, w) in [-1, 1]: (b,), float32.

        MS-SSIM = prod_{j < M} CS_j^{w_j}  *  SSIM_M^{w_M}

    (eq. 7), scale j + 1 from scale j by means over 2x2 pixels (an odd last row or column is left out). CS and SSIM as
    in `ssim`, per channel, then the mean over channels. A negative mean counts as 0.

    No unit, from 0 to 1; higher is better; 1 for equal images. An image with a side below 176 has fewer than
    five scales: their exponents (`scales_that_fit`) are divided by their sum. Compare its value only with images of as
    many scales.

    >>> x = torch.rand(1, 3, 200, 200) * 2 - 1
    >>> ms_ssim(x, x)
    tensor([1.])
    """
    scales = scales_that_fit(*x.shape[2:])
    weights = torch.tensor(WEIGHTS[:scales])
    x, y = x.float(), y.float()
    factors = []
    for scale in range(scales):
        whole, structure = similarity(x, y)
        factors.append(whole if scale == scales - 1 else structure)
        if scale < scales - 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    exponents = (weights / weights.sum()).view(-1, 1, 1).to(x.device)
    return torch.stack(factors).clamp(min=0).pow(exponents).prod(dim=0).mean(dim=1)
