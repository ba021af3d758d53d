"""The video autoencoder of CogVideoX (arXiv 2408.06072), run on still images.

The architecture is LDM's without attention, with convolutions over time (`single_frame`), padded with zeros in space.
The norms of the decoder are spatially adaptive, as in KVAE: the latent scales and shifts every position.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from vaekit.families.kl.net import Downsample, Upsample
from vaekit.families.kvae.net import SpatialNorm, group_norm
from vaekit.families.single_frame import Level, Middle, Norm, RepeatedFrameConv, run_levels
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class CogVideoXConfig:
    """The shape of a CogVideoX autoencoder. Levels are listed in the order in which they run, in either half."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels of each level of the encoder, from full resolution downwards: 128, 256, 256, 512."""
    decoder_widths: tuple[int, ...]
    """Channels of each level of the decoder, from the latent upwards."""
    encoder_blocks: int
    decoder_blocks: int

    @property
    def geometry(self) -> Geometry:
        """Images of any size (no video); every level except the last halves the resolution."""
        factor = 2 ** (len(self.encoder_widths) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        sides = (self.encoder_widths, self.encoder_blocks), (self.decoder_widths, self.decoder_blocks)
        return max(len(widths) * blocks for widths, blocks in sides)


def spatial_norm(latent_channels: int, enlarge: int) -> Norm:
    """The norms of the decoder at one resolution."""
    return lambda channels: SpatialNorm(channels, latent_channels, enlarge, group_norm, RepeatedFrameConv)


def conv3x3(in_channels: int, out_channels: int) -> RepeatedFrameConv:
    """A convolution that preserves the size of an image."""
    return RepeatedFrameConv(in_channels, out_channels, padding="zeros")


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: CogVideoXConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = conv3x3(config.image_channels, widths[0])
        ends = [*map(Downsample, widths[:-1]), None]
        self.levels = nn.ModuleList(
            Level(a, b, config.encoder_blocks, group_norm, end, "zeros")
            for (a, b), end in zip(pairwise((widths[0], *widths)), ends, strict=True)
        )
        self.mid = Middle(widths[-1], group_norm, "zeros")
        self.norm_out = group_norm(widths[-1])
        self.conv_out = conv3x3(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Images) -> Moments:
        h = self.mid(run_levels(self.levels, self.conv_in(x)))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: CogVideoXConfig) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.decoder_widths, config.latent_channels
        norms = [spatial_norm(latent, 2**i) for i in range(len(widths))]
        self.conv_in = conv3x3(latent, widths[0])
        self.mid = Middle(widths[0], norms[0], "zeros")
        ends = [*map(Upsample, widths[:-1]), None]
        self.levels = nn.ModuleList(
            Level(a, b, config.decoder_blocks, norm, end, "zeros")
            for (a, b), norm, end in zip(pairwise((widths[0], *widths)), norms, ends, strict=True)
        )
        self.norm_out = norms[-1](widths[-1])
        self.conv_out = conv3x3(widths[-1], config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = run_levels(self.levels, self.mid(self.conv_in(z), z), z)
        return self.conv_out(F.silu(self.norm_out(h, z)))


def build(config: CogVideoXConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
