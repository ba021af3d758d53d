"""The video autoencoder of Mochi 1 (Genmo; diffusers' AutoencoderKLMochi), run on still images.

A frame is encoded alone: its convolutions over time see it repeatedly, and its attention over time sees one value, so
that queries and keys have no effect. A single latent is decoded to as many frames as a latent stands for, 6 as
published, of which the authors' code keeps the last. Those frames differ: the decoder runs on all of them, as a
list of images, and its norms treat each separately.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.single_frame import RepeatedFrameConv
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments

NORM_GROUPS = 32
"""Groups of every GroupNorm, fixed in the reference code."""
OCTAVES = (6, 7)
"""Exponents of the frequencies of the Fourier features of pixels, fixed in the reference code."""


@dataclass(frozen=True)
class MochiConfig:
    """The shape of a Mochi autoencoder. Levels are listed in the order in which they run, in either half."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels before each level of the encoder, and after the last: 64, 128, 256, 384."""
    encoder_blocks: tuple[int, ...]
    """Residual blocks before the first level, of each level, and after the last: 3, 3, 4, 6, 3."""
    encoder_attention: tuple[bool, ...]
    """Whether each of these blocks is followed by attention over time."""
    decoder_widths: tuple[int, ...]
    """Channels of each level of the decoder, and after the last: 768, 512, 256, 128."""
    decoder_blocks: tuple[int, ...]
    """Residual blocks before the first level, of each level, and after the last: 3, 6, 4, 3, 3."""
    factors: tuple[tuple[int, int], ...]
    """The factors in time and in space of each level of the encoder; the decoder mirrors them."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size (no video)."""
        factor = math.prod(space for _, space in self.factors)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        return max(sum(self.encoder_blocks), sum(self.decoder_blocks))


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of both halves."""
    return nn.GroupNorm(NORM_GROUPS, channels)


class FramesConv(nn.Conv3d):
    """A causal convolution over a list of frames, the first of which is repeated before them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3)

    def over(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Each frame convolved with the two before it."""
        around = [F.pad(frame, (1, 1, 1, 1), "replicate") for frame in frames]
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        first = F.conv2d(around[0], self.weight.sum(2), self.bias)
        seen = [(around[max(i - 2, 0)], around[i - 1], around[i]) for i in range(1, len(around))]
        return [first, *(F.conv2d(torch.cat(three, dim=1), weight, self.bias) for three in seen)]


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))) over a list of frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = FramesConv(channels, channels)
        self.norm2 = group_norm(channels)
        self.conv2 = FramesConv(channels, channels)

    def forward(self, frames: Sequence[Tensor]) -> list[Tensor]:
        h = self.conv1.over([F.silu(self.norm1(frame)) for frame in frames])
        h = self.conv2.over([F.silu(self.norm2(frame)) for frame in h])
        return [frame + change for frame, change in zip(frames, h, strict=True)]


class TimeAttention(nn.Module):
    """Attention over time of one frame: its values, projected, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1, bias=False)
        self.k = nn.Conv2d(channels, channels, 1, bias=False)
        self.v = nn.Conv2d(channels, channels, 1, bias=False)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_out(self.v(self.norm(x)))


class EncoderBlocks(nn.Module):
    """Residual blocks of one frame, each followed by attention in some levels."""

    def __init__(self, channels: int, count: int, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(channels) for _ in range(count))
        self.attn = nn.ModuleList(TimeAttention(channels) if attention else nn.Identity() for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for block, attention in zip(self.block, self.attn, strict=True):
            (x,) = block([x])
            x = attention(x)
        return x


class DownLevel(EncoderBlocks):
    """A change of resolution and width, then residual blocks."""

    def __init__(self, channels: int, out_channels: int, count: int, factors: tuple[int, int], attention: bool) -> None:
        super().__init__(out_channels, count, attention)
        time, space = factors
        self.conv_in = RepeatedFrameConv(channels, out_channels, (time, space, space), stride=space)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv_in(x))


class DecoderBlocks(nn.Module):
    """Residual blocks over a list of frames."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))

    def forward(self, frames: Sequence[Tensor]) -> list[Tensor]:
        return self.block(frames)


class UpLevel(DecoderBlocks):
    """Residual blocks, then more frames and pixels from channels."""

    def __init__(self, channels: int, out_channels: int, count: int, factors: tuple[int, int]) -> None:
        super().__init__(channels, count)
        self.time, self.space = factors
        self.proj = nn.Conv2d(channels, out_channels * self.time * self.space**2, 1)

    def forward(self, frames: Sequence[Tensor]) -> list[Tensor]:
        return [frame for each in super().forward(frames) for frame in self._frames(self.proj(each))]

    def _frames(self, x: Tensor) -> list[Tensor]:
        """The frames and pixels in the channels of one frame; frames are slower than pixels."""
        parts = x.unflatten(1, (-1, self.time, self.space**2)).unbind(2)
        return [F.pixel_shuffle(part.flatten(1, 2), self.space) for part in parts]


def fourier_features(x: Tensor) -> Tensor:
    """Pixels, and sines and cosines of them at two frequencies; computed in fp32 at least."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    frequencies = [2.0**octave * 2 * math.pi for octave in OCTAVES] * x.shape[1]
    by_channel = torch.tensor(frequencies, dtype=exact.dtype, device=x.device).view(-1, 1, 1)
    scaled = exact.repeat_interleave(len(OCTAVES), dim=1) * by_channel
    return torch.cat((exact, torch.sin(scaled), torch.cos(scaled)), dim=1).to(x.dtype)


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: MochiConfig) -> None:
        super().__init__()
        self.config = config
        widths, counts, attention = config.encoder_widths, config.encoder_blocks, config.encoder_attention
        self.proj_in = nn.Conv2d(config.image_channels * (1 + 2 * len(OCTAVES)), widths[0], 1)
        self.block_in = EncoderBlocks(widths[0], counts[0], attention[0])
        self.levels = nn.Sequential(
            *(
                DownLevel(a, b, count, factors, attended)
                for (a, b), count, factors, attended in zip(
                    pairwise(widths), counts[1:-1], config.factors, attention[1:-1], strict=True
                )
            )
        )
        self.block_out = EncoderBlocks(widths[-1], counts[-1], attention[-1])
        self.norm_out = group_norm(widths[-1])
        self.proj_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 1, bias=False)

    def forward(self, x: Images) -> Moments:
        h = self.levels(self.block_in(self.proj_in(fourier_features(x))))
        return self.proj_out(F.silu(self.norm_out(self.block_out(h))))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: MochiConfig) -> None:
        super().__init__()
        self.config = config
        widths, counts = config.decoder_widths, config.decoder_blocks
        self.conv_in = RepeatedFrameConv(config.latent_channels, widths[0], 1)
        self.block_in = DecoderBlocks(widths[0], counts[0])
        self.levels = nn.Sequential(
            *(
                UpLevel(a, b, count, factors)
                for (a, b), count, factors in zip(pairwise(widths), counts[1:-1], config.factors[::-1], strict=True)
            )
        )
        self.block_out = DecoderBlocks(widths[-1], counts[-1])
        self.proj_out = nn.Conv2d(widths[-1], config.image_channels, 1)

    def forward(self, z: Latents) -> Images:
        frames = self.block_out(self.levels(self.block_in([self.conv_in(z)])))
        return self.proj_out(F.silu(frames[-1]))


def build(config: MochiConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
