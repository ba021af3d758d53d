"""The video autoencoder of Kandinsky 6's upscaler (diffusers' Kandinsky6SRVAE), run on still images.

It is built like KVAE, with convolutions over time (`single_frame`) padded with zeros in space, and with norms that
divide by the root mean square of a position's channels. A level that halves the resolution doubles the width. Where
frames are halved or doubled, too, further convolutions over time are added to the frames; the first frame passes alone.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.levels import LevelsConfig
from vaekit.families.single_frame import RepeatedFrameConv
from vaekit.families.spatial_halves import Decoder, Encoder
from vaekit.families.wan.net import RMSNorm


@dataclass(frozen=True)
class Kandinsky6SRConfig(LevelsConfig):
    """The shape of the autoencoder; the published encoder has the widths 16, 128, 256, 512, 1024, and the decoder 2048,
    1024, 512, 256, 16."""

    encoder_time_levels: tuple[int, ...]
    """Levels of the encoder that also halve the number of frames at their end: 1, 2."""
    decoder_time_levels: tuple[int, ...]
    """Levels of the decoder that also double the number of frames at their end: 1, 2."""


def rms_norm(channels: int) -> RMSNorm:
    """The norm of both halves, over the channels of each position."""
    return RMSNorm(channels, 3)


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


def build(config: Kandinsky6SRConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    widths = config.encoder_widths
    starts = (widths[0], *(2 * width for width in widths[:-1]))
    down = [Downsample(width, i in config.encoder_time_levels) for i, width in enumerate(widths[:-1])]
    up = [Upsample(width, i in config.decoder_time_levels) for i, width in enumerate(config.decoder_widths[:-1])]
    return Encoder(config, rms_norm, starts, down), Decoder(config, rms_norm, up)
