"""The autoencoder of HunyuanImage 2.1: the blocks of the kl family, and parameter-free shortcuts around other layers.

Where the number of channels changes, shortcuts repeat or average groups of channels: around the ends of both halves,
and around the layers that change the resolution, which rearrange 2x2 pixels into channels and back. The levels do not
change the width; the layers between them do. As in Tencent's HunyuanImage-2.1.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.kl.net import NORM_EPSILON, Middle, level_blocks
from vaekit.families.levels import LevelsConfig
from vaekit.shapes import Images, Latents, Moments

NORM_GROUPS = 32
"""Groups of every GroupNorm, fixed in the reference code."""


@dataclass(frozen=True)
class HunyuanImageConfig(LevelsConfig):
    """The shape of a HunyuanImage autoencoder; the published encoder has the widths 128, 256, 512, 512, 1024, 1024."""


def into_channels(x: Tensor) -> Tensor:
    """2x2 pixels into channels, (b, c, h, w) -> (b, 4c, h/2, w/2), with the position in the square as the slowest
    index."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)


def out_of_channels(x: Tensor) -> Tensor:
    """The inverse of `into_channels`."""
    return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)


def averaged(x: Tensor, channels: int) -> Tensor:
    """Reduce to `channels` channels, each the mean of a group of adjacent ones."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def repeated(x: Tensor, channels: int) -> Tensor:
    """Expand to `channels` channels by repeating each."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


class Downsample(nn.Module):
    """Halve the resolution and change the width, with a shortcut of averaged channels."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels // 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = into_channels(self.conv(x))
        return h + averaged(into_channels(x), h.shape[1])


class Upsample(nn.Module):
    """Double the resolution and change the width, with a shortcut of repeated channels."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return out_of_channels(h + repeated(x, h.shape[1]))


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution and width, except in the last level."""

    def __init__(self, width: int, count: int, resample: nn.Module | None) -> None:
        super().__init__()
        self.block, _ = level_blocks(width, width, count, attention=False, groups=NORM_GROUPS)
        self.resample = nn.Identity() if resample is None else resample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.resample(x)


def levels(widths: tuple[int, ...], blocks: int, resample: type[Downsample | Upsample]) -> nn.Sequential:
    """The levels of one half."""
    ends = [resample(width, following) for width, following in itertools.pairwise(widths)]
    return nn.Sequential(*(Level(width, blocks, end) for width, end in zip(widths, [*ends, None], strict=True)))


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: HunyuanImageConfig) -> None:
        super().__init__()
        self.config = config
        widths, moments = config.encoder_widths, 2 * config.latent_channels
        self.conv_in = nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
        self.levels = levels(widths, config.encoder_blocks, Downsample)
        self.mid = Middle(widths[-1], True, NORM_GROUPS)
        self.norm_out = nn.GroupNorm(NORM_GROUPS, widths[-1], eps=NORM_EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], moments, 3, padding=1)

    def forward(self, x: Images) -> Moments:
        x = self.mid(self.levels(self.conv_in(x)))
        h = self.conv_out(F.silu(self.norm_out(x)))
        return h + averaged(x, h.shape[1])


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: HunyuanImageConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid = Middle(widths[0], True, NORM_GROUPS)
        self.levels = levels(widths, config.decoder_blocks, Upsample)
        self.norm_out = nn.GroupNorm(NORM_GROUPS, widths[-1], eps=NORM_EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], config.image_channels, 3, padding=1)

    def forward(self, z: Latents) -> Images:
        h = self.conv_in(z)
        h = self.levels(self.mid(h + repeated(z, h.shape[1])))
        return self.conv_out(F.silu(self.norm_out(h)))


def build(config: HunyuanImageConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
