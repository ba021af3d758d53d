"""SSIM: structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, IEEE Trans. Image Processing 13(4))."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.psnr import PEAK
from vaekit.shapes import Images, PerItem

Rows = Float[Tensor, "n h w"]
"""A band of rows of channels."""

PerChannel = Float[Tensor, "b c"]

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

TILE = 2**17
"""Values of a chunk: it fits into a CPU cache and is large against the overhead of a call of torch."""


def ssim(x: Images, y: Images) -> PerItem:
    """The structural similarity of each pair of images (b, 3, h, w) in [-1, 1]: (b,), float32.

        SSIM = mean  (2 mu_x mu_y + C1) (2 sigma_xy + C2)  /  ((mu_x^2 + mu_y^2 + C1) (sigma_x^2 + sigma_y^2 + C2))

    (eq. 13) with C1 = (K1 L)^2, C2 = (K2 L)^2, and means, variances and covariance under a Gaussian window of 11 x 11
    and sigma 1.5, divided by n rather than n - 1. Computed per channel where the window lies inside the image,
    then averaged over places and channels. Intensities count from black, as in the paper: mu is that of x + 1.

    Higher is better; 1 for equal images. An image with a side below 11 uses the largest odd window that fits, with
    the same sigma; compare it only with images of the same size.

    >>> x = torch.rand(1, 3, 32, 32) * 2 - 1
    >>> ssim(x, x)
    tensor([1.])
    """
    return similarity(x, y)[0].mean(dim=1)


def similarity(x: Images, y: Images) -> tuple[PerChannel, PerChannel]:
    """SSIM of each channel, and its second factor alone, contrast and structure: each the mean over places, (b, c).

    CS = mean  (2 sigma_xy + C2) / (sigma_x^2 + sigma_y^2 + C2)
    """
    height, width = x.shape[2:]
    window = _gaussian(min(WINDOW, height - 1 + height % 2, width - 1 + width % 2))
    reach = len(window) - 1
    rows = band_rows(width)
    planes = max(1, TILE // (height * width))  # channels of small images are batched
    sums = []
    for some_x, some_y in zip(x.flatten(0, 1).split(planes), y.flatten(0, 1).split(planes), strict=True):
        bands = [slice(top, top + rows + reach) for top in range(0, height - reach, rows)]
        parts = [_similarity(some_x[:, band].float(), some_y[:, band].float(), window) for band in bands]
        sums.append(torch.stack(parts).sum(dim=0))
    both = torch.cat(sums, dim=1) / ((height - reach) * (width - reach))
    return both[0].view(x.shape[:2]), both[1].view(x.shape[:2])


def band_rows(width: int) -> int:
    """Rows of the result that are computed at once. Bands overlap by ten rows, hence the minimum."""
    return max(TILE // width, 4 * WINDOW) - WINDOW + 1


def _gaussian(length: int) -> list[float]:
    places = [place - (length - 1) / 2 for place in range(length)]
    weights = [math.exp(-(place**2) / (2 * SIGMA**2)) for place in places]
    return [weight / sum(weights) for weight in weights]


def _similarity(x: Rows, y: Rows, window: list[float]) -> Float[Tensor, "2 n"]:
    """The sums over all places of each of n channels: SSIM, and its factor of contrast and structure."""
    (channels, height, width), reach = x.shape, len(window) - 1
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    x, y = x.flatten(), y.flatten()
    mean_x, mean_y = (_local_mean(values, width, window) for values in (x, y))
    product, squares = mean_x * mean_y, torch.addcmul(mean_x * mean_x, mean_y, mean_y)
    # Variances do not depend on the offset of intensities; around the middle of the range they lose fewer digits.
    variances = _local_mean(torch.addcmul(x * x, y, y), width, window) - squares
    covariance = _local_mean(x * y, width, window) - product
    # mu = mean + 1, so that mu_x mu_y = product + sum + 1, and mu_x^2 + mu_y^2 = squares + 2 sum + 2. Both halved.
    total = mean_x + mean_y + (1 + c1 / 2)
    luminance = (product + total) / torch.add(total, squares, alpha=0.5)
    structure = (2 * covariance + c2) / (variances + c2)
    rows, columns = height - reach, width - reach
    maps = (luminance * structure, structure)
    inside = [m.as_strided((channels, rows, columns), (height * width, width, 1)) for m in maps]
    return torch.stack([m.sum(dim=(1, 2)) for m in inside])


def _local_mean(values: Float[Tensor, " n"], width: int, window: list[float]) -> Float[Tensor, " m"]:
    """The local mean of concatenated rows. The last places of a row, whose windows reach into the next row, are
    invalid.

    Shifted sums are faster than a convolution per channel, and one long row is faster than many.
    """
    for step in (width, 1):
        places = len(values) - (len(window) - 1) * step
        total = values[:places] * window[0]
        for place, weight in enumerate(window[1:], start=1):
            total.add_(values[place * step : place * step + places], alpha=weight)
        values = total
    return values
