"""Masks of skin and foliage by chromaticity: the colors whose errors people notice first.

The rules detect colors, not objects: sand counts as skin, a green door as foliage. That suffices to measure the errors
of these colors.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from vaekit.metrics.image.color import LUMA
from vaekit.shapes import Images

Mask = Bool[Tensor, "b h w"]

SKIN_CB, SKIN_CR = (77 / 255, 127 / 255), (133 / 255, 173 / 255)
"""Chai and Ngan 1999, "Face segmentation using skin-color map in videophone applications", IEEE Trans. CSVT 9(4)."""
DARKEST = 0.12
"""The mean of red, green and blue, from 0 to 1, below which chromaticity is mostly rounding error."""


def skin(x: Images) -> Mask:
    """The mask (b, h, w) of skin colors in images (b, 3, h, w) in [-1, 1].

        77 <= C_b <= 127  and  133 <= C_r <= 173,   of 255, Rec. 601 from sRGB values, full range

    (Chai and Ngan 1999, eq. 1), for pixels that are not nearly black.

    >>> import torch
    >>> face, sky = torch.tensor([194.0, 150, 130]), torch.tensor([98.0, 122, 157])
    >>> skin((torch.stack([face, sky], dim=1) / 127.5 - 1).view(1, 3, 1, 2))
    tensor([[[ True, False]]])
    """
    red, green, blue = _from_0_to_1(x)
    y = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    cb, cr = (blue - y) / 1.772 + 128 / 255, (red - y) / 1.402 + 128 / 255
    inside = (cb >= SKIN_CB[0]) & (cb <= SKIN_CB[1]) & (cr >= SKIN_CR[0]) & (cr <= SKIN_CR[1])
    return inside & (red + green + blue >= 3 * DARKEST)


def foliage(x: Images) -> Mask:
    """The mask (b, h, w) of the colors of leaves and grass in images (b, 3, h, w) in [-1, 1].

        ExG - ExR > 0,  ExG = 2 g - r - b,  ExR = 1.4 r - g,   r, g, b = R, G, B over their sum

    (Meyer and Camargo Neto 2008, "Verification of color vegetation indices for automated crop imaging applications",
    Computers and Electronics in Agriculture 63), for pixels that are not nearly black.

    >>> import torch
    >>> leaf, sky = torch.tensor([87.0, 108, 67]), torch.tensor([98.0, 122, 157])
    >>> foliage((torch.stack([leaf, sky], dim=1) / 127.5 - 1).view(1, 3, 1, 2))
    tensor([[[ True, False]]])
    """
    red, green, blue = _from_0_to_1(x)
    # Both sides are multiplied by the sum of the three, which is not negative.
    return (3 * green - 2.4 * red - blue > 0) & (red + green + blue >= 3 * DARKEST)


def mean_under(values: Float[Tensor, "b c h w"], mask: Mask) -> Float[Tensor, "b c"]:
    """The means of values (b, c, h, w), such as color differences, over the pixels of a mask; NaN for an empty mask.

    >>> import torch
    >>> mean_under(torch.arange(4.0).view(1, 1, 1, 4), torch.tensor([[[True, True, False, True]]]))
    tensor([[1.3333]])
    """
    return (values * mask[:, None]).sum(dim=(2, 3)) / mask.sum(dim=(1, 2))[:, None]


def share(mask: Mask) -> Float[Tensor, " b"]:
    """The fraction of each image that a mask covers, 0 to 1."""
    return mask.float().mean(dim=(1, 2))


def _from_0_to_1(x: Images) -> tuple[Tensor, ...]:
    return ((x.float() + 1) / 2).unbind(dim=1)
