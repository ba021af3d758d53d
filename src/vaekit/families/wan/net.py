"""The video autoencoder of Wan 2.1 and Qwen-Image (arXiv 2503.20314, 2508.02324), run on still images.

Its convolutions are causal in time: they cover a frame and the two before it, with zeros before the first frame. For a
single image only the last time slice of each kernel has an effect, so that the network consists of plain 2-D
convolutions; this is what runs here, and equals the video network for one frame. The weights are complete, including
the two earlier slices and the convolutions over time, so that files are converted bit for bit.

Some copies of these weights were pruned to the slice that an image needs ("Qwen2D"): `temporal` distinguishes them.
The output is not clamped; the published video code clamps it to [-1, 1].

Some decoders were fine-tuned to upscale, too: they output four channels for each color, which become squares of 2x2
pixels (`upscale`; spacepxl's "Wan2.1 VAE upscale2x").
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.kl import net as kl
from vaekit.families.levels import LevelsConfig
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class Axes:
    """The axes of a network's tensors: for videos, or for images."""

    time: bool
    """Whether kernels have a time axis."""
    norms: int
    """Axes of size 1 after the channels of the norms between convolutions."""


@dataclass(frozen=True)
class WanConfig(LevelsConfig):
    """The shape of a Wan 2.1 autoencoder; the published encoder has the widths 96, 192, 384, 384."""

    time_levels: tuple[int, ...]
    """Levels of the encoder that also halve the number of frames at their end; the decoder mirrors them. Their
    convolutions over time are stored but not run: a single frame bypasses them."""
    temporal: bool
    """Whether the kernels have a time axis; otherwise they were pruned to the slice for a single image."""
    upscale: int = field(default=1, kw_only=True)
    """By how much decoded images are larger than encoded ones, along each side."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size (no video); every level except the last halves the resolution."""
        factor = self.pixel_patch * 2 ** (len(self.encoder_widths) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor), upscale=self.upscale)

    @property
    def pixel_patch(self) -> int:
        """Side of the squares of pixels that become channels before the first level; 1 for none."""
        return 1

    @property
    def pixel_channels(self) -> int:
        """Input channels of the first convolution."""
        return self.pixel_patch**2 * self.image_channels

    @property
    def axes(self) -> Axes:
        """The axes of tensors; copies pruned for images have lost that of time everywhere."""
        return Axes(self.temporal, 3 if self.temporal else 2)

    @property
    def decoder_time_levels(self) -> tuple[int, ...]:
        """Levels of the decoder that also double the number of frames at their end."""
        return tuple(sorted(len(self.encoder_widths) - 2 - i for i in self.time_levels))


class CausalConv(nn.Conv3d):
    """A causal convolution over frames, run on one: images (b, c, h, w) -> (b, c', h, w)."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__(in_channels, out_channels, size)

    def forward(self, x: Tensor) -> Tensor:
        # The slice is a view; the cost of gathering it is negligible.
        return F.conv2d(x, self.weight[:, :, -1], self.bias, padding=self.kernel_size[-1] // 2)


def conv(in_channels: int, out_channels: int, size: int, temporal: bool) -> nn.Module:
    """A convolution that preserves the size of an image, with the weights of all frames or of one."""
    if temporal:
        return CausalConv(in_channels, out_channels, size)
    return nn.Conv2d(in_channels, out_channels, size, padding=size // 2)


def time_conv(in_channels: int, out_channels: int, temporal: bool) -> nn.Module:
    """Weights over three frames at one position, stored for conversion only."""
    return nn.Conv3d(in_channels, out_channels, (3, 1, 1)) if temporal else nn.Conv2d(in_channels, out_channels, 1)


class RMSNorm(nn.Module):
    """Every position's channels divided by their root mean square, times `gamma`; computed in fp32 at least."""

    def __init__(self, channels: int, further_axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * further_axes))

    def forward(self, x: Tensor) -> Tensor:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        return F.normalize(exact, dim=1).to(x.dtype) * (self.gamma.view(-1, 1, 1) * math.sqrt(x.shape[1]))


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on the shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, axes: Axes) -> None:
        super().__init__()
        self.norm1 = RMSNorm(in_channels, axes.norms)
        self.conv1 = conv(in_channels, out_channels, 3, axes.time)
        self.norm2 = RMSNorm(out_channels, axes.norms)
        self.conv2 = conv(out_channels, out_channels, 3, axes.time)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else conv(in_channels, out_channels, 1, axes.time)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.shortcut(x) + h


class Attention(nn.Module):
    """Single-head self-attention over the positions of a frame, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1)
        h = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        return x + self.proj(h.squeeze(1).transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution, with attention between them."""

    def __init__(self, channels: int, axes: Axes) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, axes)
        self.attn_1 = Attention(channels)
        self.block_2 = ResidualBlock(channels, channels, axes)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(kl.Downsample):
    """Halve the resolution; stores the convolution over time if frames are halved, too."""

    def __init__(self, channels: int, time: bool, axes: Axes) -> None:
        super().__init__(channels)
        self.time_conv = time_conv(channels, channels, axes.time) if time else nn.Identity()


class Upsample(kl.Upsample):
    """Double the resolution; stores the convolution over time if frames are doubled, too."""

    def __init__(self, channels: int, out_channels: int, time: bool, axes: Axes) -> None:
        super().__init__(channels, out_channels)
        self.time_conv = time_conv(channels, 2 * channels, axes.time) if time else nn.Identity()


class Level(nn.Module):
    """Residual blocks at one resolution, then a change of resolution, except in the last level of a half."""

    def __init__(self, in_channels: int, out_channels: int, count: int, axes: Axes, resample: nn.Module | None) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * count
        self.block = nn.Sequential(*(ResidualBlock(a, b, axes) for a, b in pairwise(widths)))
        self.resample = nn.Identity() if resample is None else resample

    def forward(self, x: Tensor) -> Tensor:
        return self.resample(self.block(x))


def down_levels(config: WanConfig) -> list[Level]:
    """The levels of an encoder."""
    widths = config.encoder_widths
    ends = [Downsample(width, i in config.time_levels, config.axes) for i, width in enumerate(widths[:-1])]
    return [
        Level(before, width, config.encoder_blocks, config.axes, end)
        for before, width, end in zip((widths[0], *widths), widths, [*ends, None], strict=False)
    ]


def up_levels(config: WanConfig, passed_on: Sequence[int]) -> list[Level]:
    """The levels of a decoder.

    Args:
        config: of the network.
        passed_on: the output channels of each level except the last.
    """
    widths, times = config.decoder_widths, config.decoder_time_levels
    ends = [
        Upsample(width, out, i in times, config.axes)
        for i, (width, out) in enumerate(zip(widths[:-1], passed_on, strict=True))
    ]
    return [
        Level(before, width, config.decoder_blocks, config.axes, end)
        for before, width, end in zip([widths[0], *passed_on], widths, [*ends, None], strict=True)
    ]


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: WanConfig, levels: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        widths, moments = config.encoder_widths, 2 * config.latent_channels
        self.conv_in = conv(config.pixel_channels, widths[0], 3, config.temporal)
        self.levels = nn.Sequential(*levels)
        self.mid = Middle(widths[-1], config.axes)
        self.norm_out = RMSNorm(widths[-1], config.axes.norms)
        self.conv_out = conv(widths[-1], moments, 3, config.temporal)
        self.quant_conv = conv(moments, moments, 1, config.temporal)

    def forward(self, x: Images) -> Moments:
        h = self.mid(self.levels(self.conv_in(x)))
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j), approximately in [-1, 1]; u times larger if it upscales."""

    def __init__(self, config: WanConfig, levels: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.upscale = config.upscale
        widths, latent = config.decoder_widths, config.latent_channels
        self.post_quant_conv = conv(latent, latent, 1, config.temporal)
        self.conv_in = conv(latent, widths[0], 3, config.temporal)
        self.mid = Middle(widths[0], config.axes)
        self.levels = nn.Sequential(*levels)
        self.norm_out = RMSNorm(widths[-1], config.axes.norms)
        self.conv_out = conv(widths[-1], config.upscale**2 * config.pixel_channels, 3, config.temporal)

    def forward(self, z: Latents) -> Images:
        h = self.levels(self.mid(self.conv_in(self.post_quant_conv(z))))
        images = self.conv_out(F.silu(self.norm_out(h)))
        return images if self.upscale == 1 else F.pixel_shuffle(images, self.upscale)


def build(config: WanConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    # The layer that doubles the resolution halves the channels.
    halved = [width // 2 for width in config.decoder_widths[:-1]]
    return Encoder(config, down_levels(config)), Decoder(config, up_levels(config, halved))
