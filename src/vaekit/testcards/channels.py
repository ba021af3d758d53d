"""Built-in images with the channels that a VAE takes."""

from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import Images


def in_channels(images: Images, channels: int) -> Tensor:
    """Convert color images (b, 3, h, w) to any number of channels: the mean for grayscale, red and green for two, an
    opaque alpha channel for RGBA, and further channels of 1."""
    if images.shape[1] == channels:
        return images
    if channels == 1:
        return images.mean(dim=1, keepdim=True)
    return images[:, :channels] if channels <= 3 else F.pad(images, (0, 0, 0, 0, 0, channels - 3), value=1.0)
