"""Color: luma, gray images, and the shift of color between an image and its reconstruction."""

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

LEVELS_PER_UNIT = 127.5
"""8-bit levels in a difference of 1 between values in [-1, 1]."""


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
    """Images (b, c, h, w) as RGB: one gray channel is repeated, three channels are returned as they are."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels


def color_shift(x: Images, y: Images) -> Float[Tensor, "b 3"]:
    """The mean change of red, green and blue from x to y, images (b, 3, h, w) in [-1, 1]: (b, 3), float32.

        shift_c = 127.5 mean_hw (y_c - x_c)

    Signed, in 8-bit levels: (+1, 0, 0) is a reconstruction with one level of 255 too much red.

    >>> import torch
    >>> gray = torch.zeros(1, 3, 8, 8)
    >>> redder = gray + torch.tensor([2 / 127.5, 0, 0]).view(1, 3, 1, 1)
    >>> color_shift(gray, redder)
    tensor([[2., 0., 0.]])
    """
    return (y.float() - x.float()).mean(dim=(2, 3)) * LEVELS_PER_UNIT
