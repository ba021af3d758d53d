"""The video autoencoder of HunyuanVideo 1.5 and of HunyuanImage 2.1's refiner, run on still images.

The shortcuts are those of HunyuanImage 2.1: around the ends of both halves, and around the layers that change the
resolution, channels are repeated or averaged. A layer that also changes the number of frames treats the first frame as
an image: when halving, it computes half of the output channels and repeats them; when doubling, it uses the first half
of them. Norms divide by the root mean square of a position's channels, as in Wan 2.1.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.hunyuan_image.net import averaged, into_channels, out_of_channels, repeated
from vaekit.families.levels import LevelsConfig
from vaekit.families.single_frame import Attention, Level, Middle, RepeatedFrameConv, run_levels
from vaekit.families.wan.net import RMSNorm
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class HunyuanVideo15Config(LevelsConfig):
    """The shape of a HunyuanVideo 1.5 autoencoder; the published encoder has the widths 128, 256, 512, 1024, 1024."""

    encoder_time_levels: tuple[int, ...]
    """Levels of the encoder that also halve the number of frames at their end: 2, 3."""
    decoder_time_levels: tuple[int, ...]
    """Levels of the decoder that also double the number of frames at their end: 0, 1."""


def rms_norm(channels: int) -> RMSNorm:
    """The norm of both halves, over the channels of each position."""
    return RMSNorm(channels, 3)


def middle(channels: int) -> Middle:
    """The layers at the lowest resolution."""
    return Middle(channels, rms_norm, attention=Attention(channels, rms_norm, RepeatedFrameConv))


class Downsample(nn.Module):
    """Halve the resolution, and change the width, with a shortcut of averaged channels."""

    def __init__(self, channels: int, out_channels: int, time: bool) -> None:
        super().__init__()
        self.conv = RepeatedFrameConv(channels, out_channels // (8 if time else 4))
        self.time = time

    def forward(self, x: Tensor) -> Tensor:
        h = into_channels(self.conv(x))
        h = torch.cat((h, h), dim=1) if self.time else h
        return h + averaged(into_channels(x), h.shape[1])


class Upsample(nn.Module):
    """Double the resolution, and change the width, with a shortcut of repeated channels."""

    def __init__(self, channels: int, out_channels: int, time: bool) -> None:
        super().__init__()
        self.conv = RepeatedFrameConv(channels, out_channels * (8 if time else 4))
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        h = out_of_channels(self.conv(x))[:, : self.out_channels]
        return h + out_of_channels(repeated(x, 4 * self.out_channels))


def levels(
    widths: tuple[int, ...], blocks: int, times: tuple[int, ...], resample: type[Downsample | Upsample]
) -> nn.ModuleList:
    """The levels of one half; the layers between them change the width."""
    ends = [resample(a, b, i in times) for i, (a, b) in enumerate(pairwise(widths))]
    pairs = zip(widths, [*ends, None], strict=True)
    return nn.ModuleList(Level(width, width, blocks, rms_norm, end) for width, end in pairs)


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: HunyuanVideo15Config) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = RepeatedFrameConv(config.image_channels, widths[0])
        self.levels = levels(widths, config.encoder_blocks, config.encoder_time_levels, Downsample)
        self.mid = middle(widths[-1])
        self.norm_out = rms_norm(widths[-1])
        self.conv_out = RepeatedFrameConv(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Images) -> Moments:
        x = self.mid(run_levels(self.levels, self.conv_in(x)))
        h = self.conv_out(F.silu(self.norm_out(x)))
        return h + averaged(x, h.shape[1])


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: HunyuanVideo15Config) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        self.conv_in = RepeatedFrameConv(config.latent_channels, widths[0])
        self.mid = middle(widths[0])
        self.levels = levels(widths, config.decoder_blocks, config.decoder_time_levels, Upsample)
        self.norm_out = rms_norm(widths[-1])
        self.conv_out = RepeatedFrameConv(widths[-1], config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = self.conv_in(z)
        h = run_levels(self.levels, self.mid(h + repeated(z, h.shape[1])))
        return self.conv_out(F.silu(self.norm_out(h)))


def build(config: HunyuanVideo15Config) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
