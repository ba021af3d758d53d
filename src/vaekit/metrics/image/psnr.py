"""PSNR: the peak signal-to-noise ratio, in decibels."""

import torch
from torch import Tensor

from vaekit.shapes import Images, PerItem

PEAK = 2.0
"""The range of values, from -1 to 1."""


def psnr(x: Images, y: Images) -> PerItem:
    """The peak signal-to-noise ratio of each pair of images (b, 3, h, w) in [-1, 1], in dB: (b,), float32.

        PSNR = 10 log10(peak^2 / MSE),  peak = 2 (from -1 to 1),  MSE the mean over channels, rows and columns

    Higher is better; infinite for equal images. The same value as for 8-bit levels with peak 255.

    >>> black = torch.full((1, 3, 8, 8), -1.0)
    >>> psnr(black, black + 0.02)
    tensor([40.0000])
    """
    return decibels((x.float() - y.float()).square().mean(dim=(1, 2, 3)))


def decibels(mean_squared_error: Tensor) -> Tensor:
    """The PSNR of mean squared errors of values in [-1, 1], in dB; infinite for 0.

    >>> decibels(torch.tensor([0.0004, 0.0]))
    tensor([40., inf])
    """
    return 10 * torch.log10(PEAK**2 / mean_squared_error)
