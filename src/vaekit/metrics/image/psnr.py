"""PSNR: the peak signal-to-noise ratio, in decibels."""

import torch

from vaekit.shapes import Images, PerItem


def psnr(x: Images, y: Images) -> PerItem:
    """The peak signal-to-noise ratio of each pair of images (b, 3, h, w) in [-1, 1], in dB: (b,), float32.

        PSNR = 10 log10(peak^2 / MSE),  peak = 2 (from -1 to 1),  MSE the mean over channels, rows and columns

    Higher is better; infinite for equal images. The same number as for 8-bit levels with peak 255.

    >>> black = torch.full((1, 3, 8, 8), -1.0)
    >>> psnr(black, black + 0.02)
    tensor([40.0000])
    """
    error = (x.float() - y.float()).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)
