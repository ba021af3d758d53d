"""Drift: the change of an image over repeated passes through a VAE, as in repeated img2img."""

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
    """The distance of each pass from the original."""

    psnr: Float[Tensor, "passes b"]
    """dB, against the original."""
    color_shift: Float[Tensor, "passes b 3"]
    """The mean change of red, green and blue since the original, in levels of 255."""

    @property
    def lost(self) -> Float[Tensor, " b"]:
        """The PSNR in dB that the last pass loses against the first: 0 for a VAE that is idempotent after one pass."""
        return self.psnr[0] - self.psnr[-1]


def drift(round_trip: Callable[[Images], Images], x: Images, passes: int = PASSES) -> Drift:
    """Pass images (b, 3, h, w) in [-1, 1] through a VAE repeatedly, and compare each result with the original.

        x_0 = x,  x_n = round_trip(x_{n-1});  PSNR(x, x_n) and shift(x, x_n) for n = 1 .. passes

    `round_trip` maps images to images of the same shape; clamping and rounding to 8 bits reproduces saving to files.
    Only two images are in memory at a time.

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
