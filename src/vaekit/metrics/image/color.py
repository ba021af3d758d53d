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
    """Images (b, c, h, w) in [-1, 1] as people see them, in RGB: one gray channel is repeated, three channels are
    returned as they are, and RGBA is laid over white.

    >>> as_rgb(torch.tensor([-1.0, 0.0, 1.0, 0.0]).view(1, 4, 1, 1)).flatten()  # half transparent
    tensor([0.0000, 0.5000, 1.0000])
    """
    if pixels.shape[1] == 4:
        colors, alpha = split_alpha(pixels)
        assert alpha is not None
        return over_white(colors, alpha)
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels


def split_alpha(pixels: Images) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b 1 h w"] | None]:
    """RGBA images (b, 4, h, w) -> colors (b, 3, h, w) in [-1, 1] and alpha (b, 1, h, w), from [-1, 1] to [0, 1]; of
    others, the image and None."""
    return (pixels[:, :3], (pixels[:, 3:] + 1) / 2) if pixels.shape[1] == 4 else (pixels, None)


def over_white(pixels: Images, alpha: Float[Tensor, "b 1 h w"]) -> Images:
    """Images with alpha in [0, 1], laid over white; encoded values are mixed, as browsers do."""
    return torch.lerp(torch.ones_like(pixels), pixels.clamp(-1, 1), alpha.clamp(0, 1))


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
