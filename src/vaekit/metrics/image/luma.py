"""Luma: the brightness of an image as video means it."""

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.shapes import Images

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (Rec. ITU-R BT.601), of the sRGB values as they are: what Pillow means by
grayscale."""

REC_709 = (0.2126, 0.7152, 0.0722)
"""The weights of high-definition video (Rec. ITU-R BT.709)."""

Planes = Float[Tensor, "b h w"]
"""One plane for each image."""


def luma(x: Images) -> Planes:
    """The luma of images (b, 3, h, w), float32, in their own range: [-1, 1] for images here. A gray image of one
    channel is its own luma.

    >>> white = torch.ones(1, 3, 1, 1)
    >>> luma(white)
    tensor([[[1.]]])
    """
    if x.shape[1] == 1:
        return x[:, 0].float()
    red, green, blue = x.float().unbind(dim=1)
    return torch.add(red * LUMA[0], green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def as_rgb(pixels: Images) -> Float[Tensor, "b 3 h w"]:
    """What a VAE gives, as an image: one gray channel three times, three as they are."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
