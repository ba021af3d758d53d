"""What the classical convolutional VAEs share: images of one small size, and a latent that is one vector.

Strided convolutions of kernel 4 halve the image down to 4x4, linear layers do the rest, and the decoder is the same
backwards (Burgess et al. 2018, arXiv 1804.03599; Dupont 2018, arXiv 1804.00104). The vector stands in a latent map of
one position, (b, z, 1, 1), so that it travels like every other latent: the whole image is one position.

Pixels are chances here: the encoders take them in 0..1, and the decoders say the logit of a white pixel.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

LOWEST = 4
"""Side of the map between convolutions and linear layers."""


@dataclass(frozen=True)
class FlatConfig:
    """What the configs of these families have in common."""

    image_channels: int
    image_size: int
    """Side of the only images that the networks take: 4, doubled by each convolution."""
    width: int
    """Channels after the first convolution."""
    hidden: int
    """Width of the linear layers."""

    @property
    def levels(self) -> int:
        """Convolutions of each half."""
        return (self.image_size // LOWEST).bit_length() - 1

    @property
    def blocks(self) -> int:
        """Convolutions of each half."""
        return self.levels


def vector_geometry(channels: int, latent_channels: int, side: int) -> Geometry:
    """Square images of one size, whose latent is one vector: a latent map of one position."""
    return Geometry(channels, latent_channels, (side, side), (side, side))


def halving(before: int, after: int) -> nn.Conv2d:
    """Half the resolution."""
    return nn.Conv2d(before, after, 4, stride=2, padding=1)


def doubling(before: int, after: int) -> nn.ConvTranspose2d:
    """Twice the resolution."""
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)


def chances(x: Images) -> Images:
    """Images in [-1, 1] -> pixels in 0..1, as the published weights take them."""
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
    """Each layer and a ReLU behind it."""
    for layer in layers:
        x = F.relu(layer(x))
    return x
