"""Between pictures, which are always RGB, and VAEs of grey pictures."""

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.domains.images.read import LoadedImage
from vaekit.metrics.image.luma import luma
from vaekit.shapes import Images

REDUCED = "colours reduced to grey: this VAE takes one channel"


def for_vae(picture: LoadedImage, channels: int) -> tuple[Images, tuple[str, ...]]:
    """A picture's pixels (1, c, h, w) in [-1, 1] for a VAE of so many channels, and the notes on what was done to it.

    A VAE of one channel gets the picture's luma, or of a grey picture its values as they are. For any other number the
    three channels are left alone: whether the VAE takes them is for the engine to say.
    """
    pixels = picture.pixels
    if channels != 1:
        return pixels, picture.notes
    if torch.equal(pixels, pixels[:, :1].expand_as(pixels)):
        return pixels[:, :1], picture.notes
    return luma(pixels)[:, None], (*picture.notes, REDUCED)


def as_rgb(pixels: Images) -> Float[Tensor, "b 3 h w"]:
    """What a VAE gives, as a picture: one grey channel three times, three as they are."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
