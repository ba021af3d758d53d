"""Color shift: the mean change of red, green and blue."""

from jaxtyping import Float
from torch import Tensor

from vaekit.shapes import Images

LEVELS_PER_UNIT = 127.5
"""8-bit levels in a difference of 1 between values in [-1, 1]."""


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
