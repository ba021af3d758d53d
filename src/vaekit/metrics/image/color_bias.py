"""Color bias: the changes of lightness, chroma, hue and white of a whole image, in CIE L*a*b*."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.lab import lab
from vaekit.shapes import Images, PerItem

COLORLESS = 1.0
"""The least chroma (root mean square) for which a chroma ratio and a hue rotation are defined."""
BRIGHT = 0.05
"""The fraction of the pixels, the lightest of the original, that define the white point."""


@dataclass(frozen=True, eq=False)
class ColorBias:
    """The color changes of each image."""

    lightness: PerItem
    """Mean of L*_y - L*_x."""
    chroma: PerItem
    """Ratio: 0.85 is 15 % less chroma. NaN for gray images."""
    hue: PerItem
    """Rotation in degrees, from red towards yellow. NaN for gray images."""
    white: Float[Tensor, "b 2"]
    """Mean change of a*, b* over the lightest 5 % of the original: the shift of white."""


def color_bias(x: Images, y: Images) -> ColorBias:
    """The signed color bias from x to y, images (b, 3, h, w) in [-1, 1].

    With z = a* + i b* at each pixel,

        w = sum conj(z_x) z_y / sum |z_x|^2,    chroma = |w|,    hue = arg w

    the least-squares similarity transform from the colors of x to those of y: pixels are weighted by squared chroma,
    so that the hue of near-grays, which is noise, does not count.

    >>> x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> bias = color_bias(x, x)
    >>> bias.lightness.item(), round(bias.chroma.item(), 4), round(bias.hue.item(), 3)
    (0.0, 1.0, 0.0)
    """
    return bias_of_lab(lab(x), lab(y))


def bias_of_lab(x: Images, y: Images) -> ColorBias:
    """The same for images in L*a*b*."""
    x, y = x.flatten(2), y.flatten(2)
    l1, a1, b1 = x.unbind(1)
    l2, a2, b2 = y.unbind(1)
    power = (a1 * a1 + b1 * b1).mean(dim=1)
    along, across = (a1 * a2 + b1 * b2).mean(dim=1), (a1 * b2 - b1 * a2).mean(dim=1)
    colorful = power.sqrt() >= COLORLESS
    nothing = torch.full_like(power, torch.nan)
    lightest = l1.topk(max(1, round(BRIGHT * l1.shape[1])), dim=1).indices
    white = torch.stack([(end - start).gather(1, lightest).mean(dim=1) for start, end in ((a1, a2), (b1, b2))], dim=1)
    return ColorBias(
        (l2 - l1).mean(dim=1),
        torch.where(colorful, torch.hypot(along, across) / power, nothing),
        torch.where(colorful, torch.rad2deg(torch.atan2(across, along)), nothing),
        white,
    )
