"""The latent previewer of AUTOMATIC1111's web UI ("VAE-approx"): SD1 latents -> a small image.

Eight convolutions without padding, each followed by a leaky ReLU, on latents upsampled by 2. There is no encoder.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

UPSAMPLING = 2
SLOPE = 0.1


@dataclass(frozen=True)
class ApproxConfig:
    """The shape of a latent previewer."""

    image_channels: int
    latent_channels: int
    widths: tuple[int, ...]
    """Channels after each convolution except the last."""
    kernels: tuple[int, ...]
    """Sides of each convolution's kernel, all odd."""

    @property
    def geometry(self) -> Geometry:
        """Previews of any size: the factors count pixels of the preview, not of the image."""
        return Geometry(self.image_channels, self.latent_channels, (UPSAMPLING, UPSAMPLING))

    @property
    def blocks(self) -> int:
        """The number of convolutions."""
        return len(self.kernels)


class Decoder(nn.Module):
    """Normalized latents (b, 4, i, j) of SD1 -> previews (b, 3, 2i, 2j), approximately in [-1, 1]."""

    def __init__(self, config: ApproxConfig) -> None:
        super().__init__()
        self.config = config
        channels = pairwise((config.latent_channels, *config.widths, config.image_channels))
        # Numbered from 1, as in the published file.
        for number, ((before, after), kernel) in enumerate(zip(channels, config.kernels, strict=True), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(before, after, kernel))

    def forward(self, z: Latents) -> Images:
        h = F.interpolate(z, scale_factor=float(UPSAMPLING), mode="nearest")
        # The padding of all convolutions is added to the latents at once.
        h = F.pad(h, [sum(kernel - 1 for kernel in self.config.kernels) // 2] * 4)
        for layer in self.children():
            h = F.leaky_relu(layer(h), SLOPE)
        return h


def build(config: ApproxConfig) -> tuple[None, Decoder]:
    """The decoder with torch's initial weights (or none, under `torch.device("meta")`); there is no encoder."""
    return None, Decoder(config)
