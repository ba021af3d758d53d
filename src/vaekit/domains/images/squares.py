"""Pictures of any size made square, for what looks at many of them at one small size."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import Images


def square(pixels: Images, side: int) -> Float[Tensor, "b c side side"]:
    """The middle square of pictures (b, c, h, w) in a size (b, c, side, side): the short side is brought to `side`,
    antialiased bicubic, and what is too long is cut off at both ends. Values stay in [-1, 1]."""
    height, width = pixels.shape[2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    resized = pixels
    if size != (height, width):
        resized = F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return resized[:, :, top : top + side, left : left + side]
