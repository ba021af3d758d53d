"""The image autoencoder of Kandinsky: KVAE-2D 1.0 (kandinskylab/KVAE-2D-1.0; diffusers' AutoencoderKLKVAE).

The architecture is LDM's without attention, with two differences. The norms of the decoder are spatially adaptive:
GroupNorm, then a scale and a shift that 1x1 convolutions compute from the latent at each position (SPADE, Park et al.
2019, arXiv 1903.07291; MoVQ, Zheng et al. 2022, arXiv 2209.09002). Where the resolution changes, average pooling or
nearest upsampling is added to a 3x3 convolution, followed by a 1x1 convolution.

Three kinds of padding occur, all fixed: zeros at the ends of the encoder, reflection where the resolution changes,
replication everywhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.levels import LevelsConfig
from vaekit.shapes import Images, Latents, Moments

NORM_GROUPS = 32
"""Groups of every GroupNorm, fixed in the reference code."""
NORM_EPSILON = 1e-6
Padding = Literal["zeros", "replicate", "reflect"]


@dataclass(frozen=True)
class KVAEConfig(LevelsConfig):
    """The shape of a KVAE. Levels are listed from full resolution downwards, in both halves."""


Norm = Callable[[int], nn.Module]
"""Creates a norm for a number of channels."""


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of the encoder."""
    return nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPSILON)


class SpatialNorm(nn.Module):
    """A norm, then y * x + b with y and b from the latent at the same position.

    Args:
        channels: of the map.
        latent_channels: of the latent.
        enlarge: positions of the map per latent position along one side.
        norm: creates the norm.
        projection: creates the 1x1 convolutions of the latent, from its channels, those of the map, and 1.
    """

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        enlarge: int,
        norm: Norm = group_norm,
        projection: Callable[[int, int, int], nn.Module] = nn.Conv2d,
    ) -> None:
        super().__init__()
        self.norm_layer = norm(channels)
        self.conv_y = projection(latent_channels, channels, 1)
        self.conv_b = projection(latent_channels, channels, 1)
        self.enlarge = enlarge

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        # Repetition commutes with 1x1 convolutions, which are cheaper at the latent's resolution.
        return self.norm_layer(x) * self._repeated(self.conv_y(z)) + self._repeated(self.conv_b(z))

    def _repeated(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=float(self.enlarge), mode="nearest") if self.enlarge > 1 else x


def spatial_norm(latent_channels: int, enlarge: int) -> Norm:
    """The norms of the decoder at one resolution."""
    return lambda channels: SpatialNorm(channels, latent_channels, enlarge)


def conv3x3(in_channels: int, out_channels: int, padding: Padding, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution with a padding of 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, padding_mode=padding)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on the shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, "replicate")
        self.norm2 = norm(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, "replicate")
        self.nin_shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        """The decoder's norms take the latent as well."""
        h = self.conv1(F.silu(self.norm1(x, *latent)))
        h = self.conv2(F.silu(self.norm2(h, *latent)))
        return self.nin_shortcut(x) + h


class Downsample(nn.Module):
    """Halve the resolution: 2x2 average pooling plus a strided convolution, then a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_conv = conv3x3(channels, channels, "reflect", stride=2)
        self.linear = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.spatial_conv(x) + F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).mean(dim=2))


class Upsample(nn.Module):
    """Double the resolution: nearest-2x upsampling plus a convolution of it, then a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_conv = conv3x3(channels, channels, "reflect")
        self.linear = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.linear(self.spatial_conv(large) + large)


def level_blocks(in_channels: int, out_channels: int, count: int, norm: Norm) -> nn.ModuleList:
    """The residual blocks of one resolution."""
    widths = [in_channels] + [out_channels] * count
    return nn.ModuleList(ResidualBlock(a, b, norm) for a, b in pairwise(widths))


class DownLevel(nn.Module):
    """A level of the encoder: blocks, then half the resolution (except in the last)."""

    def __init__(self, in_channels: int, out_channels: int, count: int, halve: bool) -> None:
        super().__init__()
        self.block = level_blocks(in_channels, out_channels, count, group_norm)
        self.downsample = Downsample(out_channels) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.downsample(x)


class UpLevel(nn.Module):
    """A level of the decoder: blocks, then twice the resolution (except in the one at full resolution)."""

    def __init__(self, in_channels: int, out_channels: int, count: int, norm: Norm, double: bool) -> None:
        super().__init__()
        self.block = level_blocks(in_channels, out_channels, count, norm)
        self.upsample = Upsample(out_channels) if double else nn.Identity()

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        for block in self.block:
            x = block(x, z)
        return self.upsample(x)


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, norm)
        self.block_2 = ResidualBlock(channels, channels, norm)

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        return self.block_2(self.block_1(x, *latent), *latent)


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: KVAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = conv3x3(config.image_channels, widths[0], "zeros")
        self.down = nn.ModuleList(
            DownLevel(widths[max(i - 1, 0)], width, config.encoder_blocks, halve=i < len(widths) - 1)
            for i, width in enumerate(widths)
        )
        self.mid = Middle(widths[-1], group_norm)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = conv3x3(widths[-1], 2 * config.latent_channels, "zeros")

    def forward(self, x: Images) -> Moments:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j). Levels are numbered by resolution: `up[0]` is the last to
    run, at full resolution."""

    def __init__(self, config: KVAEConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        norms = [spatial_norm(config.latent_channels, 2**i) for i in reversed(range(len(widths)))]
        self.conv_in = conv3x3(config.latent_channels, widths[-1], "replicate")
        self.mid = Middle(widths[-1], norms[-1])
        self.up = nn.ModuleList(
            UpLevel(widths[min(i + 1, len(widths) - 1)], width, config.decoder_blocks, norms[i], double=i > 0)
            for i, width in enumerate(widths)
        )
        self.norm_out = norms[0](widths[0])
        self.conv_out = conv3x3(widths[0], config.image_channels, "replicate")

    def forward(self, z: Latents) -> Images:
        h = self.mid(self.conv_in(z), z)
        for level in reversed(self.up):
            h = level(h, z)
        return self.conv_out(F.silu(self.norm_out(h, z)))


def build(config: KVAEConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
