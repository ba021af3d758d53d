"""Shared parts of classical convolutional VAEs for small images of one size, with a vector as the latent.

Strided convolutions of kernel 4 halve the image down to 4x4, followed by linear layers; the decoder is the reverse
(Burgess et al. 2018, arXiv 1804.03599; Dupont 2018, arXiv 1804.00104). The vector has the shape of a latent map with
one position, (b, z, 1, 1), like all other latents of images.

Pixels are probabilities: encoders take them in [0, 1], and decoders output the logit of a white pixel.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

LOWEST = 4
"""The side of the map between convolutions and linear layers."""


@dataclass(frozen=True)
class FlatConfig:
    """The common fields of the configs of these families."""

    image_channels: int
    image_size: int
    """The side of images, fixed: 4 times 2 to the power of the number of convolutions."""
    width: int
    """Channels after the first convolution."""
    hidden: int
    """Width of the linear layers."""

    @property
    def levels(self) -> int:
        """The number of convolutions of each half."""
        return (self.image_size // LOWEST).bit_length() - 1

    @property
    def blocks(self) -> int:
        """The number of convolutions of each half."""
        return self.levels


def vector_geometry(channels: int, latent_channels: int, side: int) -> Geometry:
    """The geometry of square images of one size, with a latent map of one position."""
    return Geometry(channels, latent_channels, (side, side), (side, side))


def halving(before: int, after: int) -> nn.Conv2d:
    """A convolution that halves the resolution."""
    return nn.Conv2d(before, after, 4, stride=2, padding=1)


def doubling(before: int, after: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles the resolution."""
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)


def as_probabilities(x: Images) -> Images:
    """Images in [-1, 1] -> pixels in [0, 1], the range of the published weights."""
    return (x + 1) / 2


def as_vector(z: Latents) -> Tensor:
    """A latent map of one position (b, z, 1, 1) -> vectors (b, z)."""
    return z.flatten(1)


def as_map(vector: Tensor) -> Latents:
    """Vectors (b, z) -> a latent map of one position (b, z, 1, 1)."""
    return vector[..., None, None]


def unfold(vector: Tensor) -> Tensor:
    """Vectors (b, 16 c) -> the smallest map, (b, c, 4, 4)."""
    return vector.unflatten(1, (-1, LOWEST, LOWEST))


def through(layers: list[nn.Module], x: Tensor) -> Tensor:
    """Apply layers, each followed by a ReLU."""
    for layer in layers:
        x = F.relu(layer(x))
    return x
