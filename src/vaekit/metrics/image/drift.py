"""Drift: what many passes through a VAE do to an image, as repeated img2img does."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.color import color_shift
from vaekit.metrics.image.psnr import psnr
from vaekit.shapes import Images

PASSES = 8


@dataclass(frozen=True, eq=False)
class Drift:
    """How far from the original each pass is."""

    psnr: Float[Tensor, "passes b"]
    """dB, against the original."""
    color_shift: Float[Tensor, "passes b 3"]
    """The mean change of red, green and blue since the original, in levels of 255."""

    @property
    def lost(self) -> Float[Tensor, " b"]:
        """The dB of PSNR that all passes lose against the first: 0 for a VAE that settles at once."""
        return self.psnr[0] - self.psnr[-1]


def drift(round_trip: Callable[[Images], Images], x: Images, passes: int = PASSES) -> Drift:
    """Send images (b, 3, h, w) in [-1, 1] through a VAE again and again, and compare each result with the original.

        x_0 = x,  x_n = round_trip(x_{n-1});  PSNR(x, x_n) and shift(x, x_n) for n = 1 .. passes

    `round_trip` takes images and gives images of the same shape; one that clamps and rounds to 8 bits does what
    saved files do. Only two images are held at a time.

    >>> darker = drift(lambda images: images - 1 / 127.5, torch.zeros(1, 3, 8, 8), passes=3)
    >>> darker.color_shift[:, 0, 1]
    tensor([-1., -2., -3.])
    """
    current, ratios, shifts = x, [], []
    for _ in range(passes):
        current = round_trip(current)
        ratios.append(psnr(x, current))
        shifts.append(color_shift(x, current))
    return Drift(torch.stack(ratios), torch.stack(shifts))
