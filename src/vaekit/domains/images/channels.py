"""Between images, which are always RGB, and VAEs of gray images."""

import torch

from vaekit.domains.images.read import LoadedImage
from vaekit.geometry import Geometry
from vaekit.metrics.image.luma import luma
from vaekit.shapes import Images

REDUCED = "colors reduced to gray: this VAE takes one channel"


def for_vae(image: LoadedImage, geometry: Geometry) -> tuple[Images, tuple[str, ...]]:
    """An image's pixels (1, c, h, w) in [-1, 1] for a VAE of this geometry, and the notes on what was done to it.

    Raises:
        BadItem: the VAE takes no images.
    """
    geometry.require_axes(2, "images")
    return with_channels(image, geometry.channels)


def with_channels(image: LoadedImage, channels: int) -> tuple[Images, tuple[str, ...]]:
    """An image's pixels (1, c, h, w) in [-1, 1], and the notes on what was done to it.

    One channel is the image's luma, or of a gray image its values as they are. For any other number the three channels
    are left alone: whether the VAE takes them is for the engine to say.
    """
    pixels = image.pixels
    if channels != 1:
        return pixels, image.notes
    if torch.equal(pixels, pixels[:, :1].expand_as(pixels)):
        return pixels[:, :1], image.notes
    return luma(pixels)[:, None], (*image.notes, REDUCED)
