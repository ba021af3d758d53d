"""Residual convolutional nets for small square images with a vector as the latent, such as MNIST.

Strided convolutions halve the image, each followed by residual blocks without norms, and a linear layer takes all
positions. The second convolution of a block is initialized to zero, so that the network starts as its strided
convolutions alone (Zhang et al. 2019, arXiv 1901.09321). The decoder is the reverse. The vector has the shape of a
latent map with one position, (b, z, 1, 1), like all other latents of images.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.nets.flat import as_map, as_probabilities, as_vector, doubling, halving, vector_geometry


@dataclass(frozen=True)
class ResidualConfig:
    """The architecture of encoder and decoder."""

    image_channels: int
    image_size: int
    """The side of images, fixed: divisible by 2 to the power of the number of levels."""
    latent_channels: int
    widths: tuple[int, ...]
    """Channels after each strided convolution of the encoder."""
    blocks: int
    """The number of residual blocks per level."""
    kind: str = field(default="residual", init=False)

    def __post_init__(self) -> None:
        if not self.widths or self.image_size % 2 ** len(self.widths):
            raise ValueError(f"images of side {self.image_size} cannot be halved {len(self.widths)} times")

    @property
    def geometry(self) -> Geometry:
        """Square images of one size with a latent map of one position."""
        return vector_geometry(self.image_channels, self.latent_channels, self.image_size)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return (self.image_channels, self.image_size, self.image_size)

    @property
    def lowest(self) -> int:
        """The side of the smallest map."""
        return self.image_size // 2 ** len(self.widths)

    def build(self, moments: int, outputs: int) -> tuple["Encoder", "Decoder"]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` decoder outputs per data
        value."""
        return Encoder(self, moments), Decoder(self, outputs)


class Block(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution initialized to zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Encoder(nn.Module):
    """Images (b, c, s, s) in [-1, 1] -> moments (b, m z, 1, 1)."""

    def __init__(self, config: ResidualConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for before, width in zip((config.image_channels, *config.widths), config.widths, strict=False):
            layers += [halving(before, width), *(Block(width) for _ in range(config.blocks)), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(config.widths[-1] * config.lowest**2, moments * config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        return as_map(self.out(self.body(as_probabilities(x)).flatten(1)))


class Decoder(nn.Module):
    """Raw latents (b, z, 1, 1) -> parameters (b, k c, s, s)."""

    def __init__(self, config: ResidualConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.into = nn.Linear(config.latent_channels, config.widths[-1] * config.lowest**2)
        layers: list[nn.Module] = []
        inwards = (outputs * config.image_channels, *config.widths)
        for width, after in zip(reversed(config.widths), reversed(inwards[:-1]), strict=True):
            layers += [*(Block(width) for _ in range(config.blocks)), nn.SiLU(), doubling(width, after)]
        self.body = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        side = self.config.lowest
        return self.body(self.into(as_vector(z)).unflatten(1, (-1, side, side)))

    def set_initial_output(self, parameters: Tensor) -> None:
        """Set the last bias, one per channel, to the means of parameters (c, s, s)."""
        last = self.body[-1]
        assert isinstance(last, nn.ConvTranspose2d) and last.bias is not None
        with torch.no_grad():
            last.bias[: len(parameters)] = parameters.mean(dim=(1, 2))
