"""The tiny autoencoders for the latents of large ones: TAESD, TAESD3, TAEF1, TAEF2, TAESANA (madebyollin/taesd).

Plain 3x3 convolutions and ReLUs, no normalization; TAEF2 adds a branch with a GroupNorm to the blocks at the lowest
resolution. TAESANA, at 1/32 size, starts with a stem of two strided convolutions and has a decoder of several widths;
the others have one width throughout. Both halves are one `nn.Sequential` each, and its indices are the keys of the
published files: position 0 of the decoder is the clamp, which has no weights.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

POOL_GROUPS = 4
POOL_EXPANSION = 4


@dataclass(frozen=True)
class TinyConfig:
    """The shape of a tiny autoencoder. Stages are listed in the order in which they run."""

    image_channels: int
    latent_channels: int
    stem_widths: tuple[int, ...]
    """Widths of the strided convolutions, each with a ReLU, before the encoder's first blocks; the last equals the
    width of the first stage. Empty if the first stage is at full resolution."""
    encoder_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    """Blocks of each encoder stage; every stage except the first halves the resolution."""
    decoder_blocks: tuple[int, ...]
    """Blocks of each decoder stage; every stage except the last doubles the resolution."""
    pool: bool
    """Whether the blocks at the lowest resolution have the GroupNorm branch of TAEF2."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size; the stem and every stage except one halve the resolution."""
        factor = 2 ** (len(self.stem_widths) + len(self.encoder_blocks) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Blocks of the larger half."""
        return max(sum(self.encoder_blocks), sum(self.decoder_blocks))


class Clamp(nn.Module):
    """Squash latents softly into (-3, 3)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


class Block(nn.Module):
    """relu(x + three convolutions of x); with `pool`, a branch with global context is added to x first."""

    def __init__(self, width: int, pool: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool = pool_branch(width) if pool else None
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return self.fuse(self.conv(x) + x)


def pool_branch(width: int) -> nn.Sequential:
    """A GroupNorm between 1x1 convolutions, the only layers of the family with global context."""
    wide = POOL_EXPANSION * width
    return nn.Sequential(
        nn.Conv2d(width, wide, 1, bias=False),
        nn.GroupNorm(POOL_GROUPS, wide),
        nn.ReLU(),
        nn.Conv2d(wide, width, 1, bias=False),
    )


def first_layers(config: TinyConfig) -> list[nn.Module]:
    """The layers before the encoder's first block."""
    if not config.stem_widths:
        return [nn.Conv2d(config.image_channels, config.encoder_widths[0], 3, padding=1)]
    layers: list[nn.Module] = []
    for before, after in pairwise((config.image_channels, *config.stem_widths)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return layers


class Encoder(nn.Sequential):
    """Images (b, 3, h, w) in [-1, 1] -> latents (b, z, h/f, w/f)."""

    def __init__(self, config: TinyConfig) -> None:
        widths, stages = config.encoder_widths, config.encoder_blocks
        layers = first_layers(config)
        for i, (width, count) in enumerate(zip(widths, stages, strict=True)):
            if i > 0:
                layers.append(nn.Conv2d(widths[i - 1], width, 3, stride=2, padding=1, bias=False))
            layers += [Block(width, config.pool and i == len(stages) - 1) for _ in range(count)]
        super().__init__(*layers, nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1))
        self.config = config

    def forward(self, x: Images) -> Latents:
        return super().forward((x + 1) / 2)  # the published weights take pixels in 0..1


class Decoder(nn.Sequential):
    """Latents (b, z, i, j) -> images (b, 3, f*i, f*j), approximately in [-1, 1]."""

    def __init__(self, config: TinyConfig) -> None:
        widths, stages = config.decoder_widths, config.decoder_blocks
        layers: list[nn.Module] = [Clamp(), nn.Conv2d(config.latent_channels, widths[0], 3, padding=1), nn.ReLU()]
        for i, (width, count) in enumerate(zip(widths, stages, strict=True)):
            if i > 0:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(widths[i - 1], width, 3, padding=1, bias=False)]
            layers += [Block(width, config.pool and i == 0) for _ in range(count)]
        super().__init__(*layers, nn.Conv2d(widths[-1], config.image_channels, 3, padding=1))
        self.config = config

    def forward(self, z: Latents) -> Images:
        return super().forward(z) * 2 - 1


def build(config: TinyConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
