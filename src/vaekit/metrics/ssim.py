"""SSIM: structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE Trans. Image Processing 13(4))."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.shapes import Images, PerItem

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

PEAK = 2.0
"""From -1 to 1: the L of the paper."""

BAND = 512
"""Rows. Taller pictures go band by band, in less memory and, out of the cache, in less time."""


def ssim(x: Images, y: Images) -> PerItem:
    """The structural similarity of each pair of pictures (b, 3, h, w) in [-1, 1]: (b,), float32.

        SSIM = mean  (2 mu_x mu_y + C1) (2 sigma_xy + C2)  /  ((mu_x^2 + mu_y^2 + C1) (sigma_x^2 + sigma_y^2 + C2))

    (eq. 13) with C1 = (K1 L)^2, C2 = (K2 L)^2, and means, variances and covariance under a Gaussian window of 11 x 11
    and sigma 1.5, divided by n rather than n - 1. Each channel for itself, where the window lies inside the picture;
    the mean over places and channels. Intensities count from black, as in the paper: mu is that of x + 1.

    Higher is better; 1 for equal pictures. A picture with a side below 11 is judged with the largest odd window that
    fits, of the same sigma: always defined, but to be compared only with pictures of the same size.

    >>> x = torch.rand(1, 3, 32, 32) * 2 - 1
    >>> ssim(x, x)
    tensor([1.])
    """
    window = _gaussian(min(WINDOW, *(side - 1 + side % 2 for side in x.shape[-2:])))
    reach = len(window) - 1
    rows = x.shape[2] - reach
    bands = [slice(top, min(top + BAND, rows) + reach) for top in range(0, rows, BAND)]
    sums = [_similarity(x[:, :, band].float(), y[:, :, band].float(), window).sum(dim=(1, 2, 3)) for band in bands]
    return torch.stack(sums).sum(dim=0) / (x.shape[1] * rows * (x.shape[3] - reach))


def _gaussian(length: int) -> list[float]:
    places = [place - (length - 1) / 2 for place in range(length)]
    weights = [math.exp(-(place**2) / (2 * SIGMA**2)) for place in places]
    return [weight / sum(weights) for weight in weights]


def _similarity(x: Images, y: Images, window: list[float]) -> Float[Tensor, "b 3 i j"]:
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    centre_x, centre_y = _local_mean(x, window), _local_mean(y, window)
    # Variances do not care where intensities start; from the middle of the range they lose fewer digits.
    variance_x = _local_mean(x * x, window) - centre_x.square()
    variance_y = _local_mean(y * y, window) - centre_y.square()
    covariance = _local_mean(x * y, window) - centre_x * centre_y
    mu_x, mu_y = centre_x + 1, centre_y + 1
    luminance = (2 * mu_x * mu_y + c1) / (mu_x.square() + mu_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure


def _local_mean(values: Images, window: list[float]) -> Float[Tensor, "b 3 i j"]:
    """Under the window, rows first. Eleven shifted sums are faster than a convolution of channels one by one."""
    for dim in (-2, -1):
        places = values.shape[dim] - len(window) + 1
        total = values.narrow(dim, 0, places) * window[0]
        for start, weight in enumerate(window[1:], start=1):
            total.add_(values.narrow(dim, start, places), alpha=weight)
        values = total
    return values
