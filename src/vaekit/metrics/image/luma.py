"""Luma: a weighted sum of the gamma-encoded red, green and blue."""

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.shapes import Images

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (Rec. ITU-R BT.601), of the encoded sRGB values, as in Pillow's
grayscale conversion."""

REC_709 = (0.2126, 0.7152, 0.0722)
"""The weights of high-definition video (Rec. ITU-R BT.709)."""

Planes = Float[Tensor, "b h w"]
"""One plane for each image."""


def luma(x: Images) -> Planes:
    """The luma of images (b, 3, h, w), float32, in the range of the images. A gray image of one channel is its own
    luma.

    >>> white = torch.ones(1, 3, 1, 1)
    >>> luma(white)
    tensor([[[1.]]])
    """
    if x.shape[1] == 1:
        return x[:, 0].float()
    red, green, blue = x.float().unbind(dim=1)
    return torch.add(red * LUMA[0], green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def as_rgb(pixels: Images) -> Float[Tensor, "b 3 h w"]:
    """The output of a VAE as RGB: a gray channel is repeated three times, RGB is unchanged."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
