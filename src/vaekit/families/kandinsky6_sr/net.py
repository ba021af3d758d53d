"""The video autoencoder of Kandinsky 6's upscaler (diffusers' Kandinsky6SRVAE), run on still images.

It is built like KVAE, with convolutions over time (`single_frame`) padded with zeros in space, and with norms that
divide by the root mean square of a position's channels. A level that halves the resolution doubles the width. Where
frames are halved or doubled, too, further convolutions over time are added to the frames; the first frame passes alone.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.kvae.net import SpatialNorm
from vaekit.families.single_frame import Level, Middle, Norm, RepeatedFrameConv, run_levels
from vaekit.families.wan.net import RMSNorm
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class Kandinsky6SRConfig:
    """The shape of the autoencoder. Levels are listed in the order in which they run, in either half."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels of each level of the encoder, from full resolution downwards: 16, 128, 256, 512, 1024."""
    decoder_widths: tuple[int, ...]
    """Channels of each level of the decoder, from the latent upwards: 2048, 1024, 512, 256, 16."""
    encoder_blocks: int
    decoder_blocks: int
    encoder_time_levels: tuple[int, ...]
    """Levels of the encoder that also halve the number of frames at their end: 1, 2."""
    decoder_time_levels: tuple[int, ...]
    """Levels of the decoder that also double the number of frames at their end: 1, 2."""

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


def rms_norm(channels: int) -> RMSNorm:
    """The norm of the encoder, over the channels of each position."""
    return RMSNorm(channels, 3)


def spatial_norm(latent_channels: int, enlarge: int) -> Norm:
    """The norms of the decoder at one resolution."""
    return lambda channels: SpatialNorm(channels, latent_channels, enlarge, rms_norm, RepeatedFrameConv)


def conv3x3(in_channels: int, out_channels: int) -> RepeatedFrameConv:
    """A convolution that preserves the size of an image."""
    return RepeatedFrameConv(in_channels, out_channels, padding="zeros")


class Downsample(nn.Module):
    """Halve the resolution and double the width: averaged pairs of squares plus a strided convolution, then
    convolutions over time if frames are halved, too, and a 1x1 convolution."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        width = 2 * channels
        self.spatial_conv = RepeatedFrameConv(channels, width, (1, 3, 3), "zeros", stride=2)
        self.temporal_conv = nn.Sequential(*(RepeatedFrameConv(width, width, (2, 1, 1)) for _ in range(2 * time)))
        self.linear = RepeatedFrameConv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.spatial_conv(x) + F.pixel_unshuffle(x, 2).unflatten(1, (-1, 2)).mean(dim=2)
        return self.linear(self.temporal_conv(h) + h if len(self.temporal_conv) else h)


class Upsample(nn.Module):
    """Double the resolution: a convolution over time if frames are doubled, too, nearest-2x upsampling plus a
    convolution of it, then a 1x1 convolution."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.spatial_conv = RepeatedFrameConv(channels, channels, (1, 3, 3), "zeros")
        self.temporal_conv = RepeatedFrameConv(channels, channels, (3, 1, 1)) if time else None
        self.linear = RepeatedFrameConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.temporal_conv is None else x + self.temporal_conv(x)
        large = F.interpolate(h, scale_factor=2.0, mode="nearest")
        return self.linear(large + self.spatial_conv(large))


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: Kandinsky6SRConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = conv3x3(config.image_channels, widths[0])
        starts = (widths[0], *(2 * width for width in widths[:-1]))
        ends = [*(Downsample(width, i in config.encoder_time_levels) for i, width in enumerate(widths[:-1])), None]
        self.levels = nn.ModuleList(
            Level(a, b, config.encoder_blocks, rms_norm, end, "zeros")
            for a, b, end in zip(starts, widths, ends, strict=True)
        )
        self.mid = Middle(widths[-1], rms_norm, "zeros")
        self.norm_out = rms_norm(widths[-1])
        self.conv_out = conv3x3(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Images) -> Moments:
        h = self.mid(run_levels(self.levels, self.conv_in(x)))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: Kandinsky6SRConfig) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.decoder_widths, config.latent_channels
        norms = [spatial_norm(latent, 2**i) for i in range(len(widths))]
        self.conv_in = conv3x3(latent, widths[0])
        self.mid = Middle(widths[0], norms[0], "zeros")
        ends = [*(Upsample(width, i in config.decoder_time_levels) for i, width in enumerate(widths[:-1])), None]
        self.levels = nn.ModuleList(
            Level(a, b, config.decoder_blocks, norm, end, "zeros")
            for (a, b), norm, end in zip(pairwise((widths[0], *widths)), norms, ends, strict=True)
        )
        self.norm_out = norms[-1](widths[-1])
        self.conv_out = conv3x3(widths[-1], config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = run_levels(self.levels, self.mid(self.conv_in(z), z), z)
        return self.conv_out(F.silu(self.norm_out(h, z)))


def build(config: Kandinsky6SRConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
