"""The video autoencoder of LTX-Video 0.9 and LTX-2 (arXiv 2501.00103), run on still images.

Squares of 4x4 pixels become channels before the first convolution. Norms without weights divide by the root mean square
of a position's channels. The encoder outputs one log-variance for all channels of a position. Resolutions change in one
of two ways: by a strided convolution, or by rearranging pixels and frames into channels and back, with a shortcut.

A layer that also halves the number of frames sees the first frame twice; one that doubles it outputs two frames, of
which the second is used. Decoders of LTX-Video 0.9.1 to 0.9.8 depend on a time step, and are not supported.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.single_frame import Padding, RepeatedFrameConv
from vaekit.families.wan22.net import into_squares, out_of_squares
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments

PATCH = 4
"""Pixels along one side of the squares that become channels, in all published models."""
RMS_EPSILON = 1e-8
NORM_EPSILON = 1e-6
NONE, STRIDED = "", "conv"
REARRANGED = {"spatial": (1, 2), "temporal": (2, 1), "spatiotemporal": (2, 2)}
"""The factors in time and space of the layers that rearrange, named as in diffusers."""


@dataclass(frozen=True)
class LTXConfig:
    """The shape of an LTX autoencoder. Levels are listed in the order in which they run, in either half."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels of each level of the encoder, and of the blocks after the last level: 128, 256, 512, 1024, 2048."""
    encoder_blocks: tuple[int, ...]
    """Residual blocks of each of these."""
    encoder_steps: tuple[str, ...]
    """How each level ends: "conv", "spatial", "temporal", "spatiotemporal", or "" if it keeps the resolution."""
    decoder_widths: tuple[int, ...]
    """Channels of the blocks before the first level of the decoder, and of each level: 1024, 512, 256, 128."""
    decoder_blocks: tuple[int, ...]
    decoder_steps: tuple[str, ...]
    """How each level starts: "spatial", "temporal", "spatiotemporal", or ""."""
    narrowing: bool
    """Whether the layers of the decoder that change the resolution also halve the width, with a shortcut, as in LTX-2;
    otherwise residual blocks before them change it."""
    decoder_padding: Padding
    """The padding of the decoder, "reflect" in LTX-2 and "zeros" in LTX-Video. Weights do not determine it."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size (no video). Reflection needs at least two rows."""
        factor = PATCH * 2 ** sum(step not in (NONE, "temporal") for step in self.encoder_steps)
        least = 2 if self.decoder_padding == "reflect" else 1
        return Geometry(self.image_channels, self.latent_channels, (factor, factor), least_positions=least)

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        return max(sum(self.encoder_blocks), sum(self.decoder_blocks))


def normalized(x: Tensor) -> Tensor:
    """Every position's channels divided by their root mean square."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    return (exact * torch.rsqrt(exact.square().mean(1, keepdim=True) + RMS_EPSILON)).to(x.dtype)


class ChannelNorm(nn.Module):
    """Layer normalization of every position's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(1, keepdim=True)
        scaled = centered * torch.rsqrt(centered.square().mean(1, keepdim=True) + NORM_EPSILON)
        return scaled * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a norm and a 1x1 convolution on the shortcut where the width
    changes."""

    def __init__(self, in_channels: int, out_channels: int, padding: Padding) -> None:
        super().__init__()
        self.conv1 = RepeatedFrameConv(in_channels, out_channels, padding=padding)
        self.conv2 = RepeatedFrameConv(out_channels, out_channels, padding=padding)
        same = in_channels == out_channels
        self.norm3 = nn.Identity() if same else ChannelNorm(in_channels)
        self.conv_shortcut = nn.Identity() if same else RepeatedFrameConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(normalized(x)))
        h = self.conv2(F.silu(normalized(h)))
        return self.conv_shortcut(self.norm3(x)) + h


def residual_blocks(channels: int, count: int, padding: Padding) -> nn.Sequential:
    """Blocks of one width."""
    return nn.Sequential(*(ResidualBlock(channels, channels, padding) for _ in range(count)))


def into_channels(x: Tensor, time: int, space: int) -> Tensor:
    """Squares of pixels and `time` equal frames into channels, (b, c, h, w) -> (b, c * time * space^2, ...)."""
    squares = F.pixel_unshuffle(x, space) if space > 1 else x
    return torch.cat([squares.unflatten(1, (x.shape[1], -1))] * time, dim=2).flatten(1, 2)


def out_of_channels(x: Tensor, time: int, space: int) -> Tensor:
    """The last of `time` frames of channels that hold frames and squares of pixels."""
    last = x.unflatten(1, (-1, time, space**2))[:, :, -1].flatten(1, 2)
    return F.pixel_shuffle(last, space) if space > 1 else last


class Downsample(nn.Module):
    """Rearrange into channels and change the width, with a shortcut of averaged channels."""

    def __init__(self, channels: int, out_channels: int, factors: tuple[int, int]) -> None:
        super().__init__()
        self.time, self.space = factors
        self.conv = RepeatedFrameConv(channels, out_channels // (self.time * self.space**2), padding="zeros")

    def forward(self, x: Tensor) -> Tensor:
        h = into_channels(self.conv(x), self.time, self.space)
        return h + into_channels(x, self.time, self.space).unflatten(1, (h.shape[1], -1)).mean(dim=2)


class Strided(nn.Module):
    """Halve the resolution with a strided convolution, padded on all sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.strided = RepeatedFrameConv(channels, channels, padding="zeros", stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.strided(x)


class Upsample(nn.Module):
    """Rearrange out of channels; where that reduces the width, add a shortcut of repeated channels."""

    def __init__(self, channels: int, out_channels: int, factors: tuple[int, int], padding: Padding) -> None:
        super().__init__()
        self.time, self.space = factors
        self.out_channels, self.shortcut = out_channels, out_channels < channels
        self.conv = RepeatedFrameConv(channels, out_channels * self.time * self.space**2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        h = out_of_channels(self.conv(x), self.time, self.space)
        if not self.shortcut:
            return h
        some = out_of_channels(x, self.time, self.space)
        return h + torch.cat([some] * (self.out_channels // some.shape[1]), dim=1)


class DownLevel(nn.Module):
    """Residual blocks, a change of resolution, and a block that changes the width if that did not."""

    def __init__(self, channels: int, out_channels: int, count: int, step: str) -> None:
        super().__init__()
        self.block = residual_blocks(channels, count, "zeros")
        rearranged = step in REARRANGED
        strided = Strided(channels) if step == STRIDED else nn.Identity()
        self.resample = Downsample(channels, out_channels, REARRANGED[step]) if rearranged else strided
        same = rearranged or channels == out_channels
        self.widen = nn.Identity() if same else ResidualBlock(channels, out_channels, "zeros")

    def forward(self, x: Tensor) -> Tensor:
        return self.widen(self.resample(self.block(x)))


class UpLevel(nn.Module):
    """A change of width and of resolution, in one layer or in two, and residual blocks."""

    def __init__(
        self, channels: int, out_channels: int, count: int, step: str, narrows: bool, padding: Padding
    ) -> None:
        super().__init__()
        start = channels if narrows else out_channels
        self.widen = nn.Identity() if start == channels else ResidualBlock(channels, out_channels, padding)
        self.resample = Upsample(start, out_channels, REARRANGED[step], padding) if step else nn.Identity()
        self.block = residual_blocks(out_channels, count, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.resample(self.widen(x)))


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: LTXConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = RepeatedFrameConv(PATCH**2 * config.image_channels, widths[0], padding="zeros")
        self.levels = nn.Sequential(
            *(
                DownLevel(a, b, count, step)
                for (a, b), count, step in zip(
                    pairwise(widths), config.encoder_blocks[:-1], config.encoder_steps, strict=True
                )
            )
        )
        self.mid = residual_blocks(widths[-1], config.encoder_blocks[-1], "zeros")
        self.conv_out = RepeatedFrameConv(widths[-1], config.latent_channels + 1, padding="zeros")

    def forward(self, x: Images) -> Moments:
        h = self.mid(self.levels(self.conv_in(into_squares(x, PATCH))))
        h = self.conv_out(F.silu(normalized(h)))
        return torch.cat((h[:, :-1], h[:, -1:].repeat_interleave(self.config.latent_channels, dim=1)), dim=1)


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: LTXConfig) -> None:
        super().__init__()
        self.config = config
        widths, padding = config.decoder_widths, config.decoder_padding
        self.conv_in = RepeatedFrameConv(config.latent_channels, widths[0], padding=padding)
        self.mid = residual_blocks(widths[0], config.decoder_blocks[0], padding)
        self.levels = nn.Sequential(
            *(
                UpLevel(a, b, count, step, config.narrowing, padding)
                for (a, b), count, step in zip(
                    pairwise(widths), config.decoder_blocks[1:], config.decoder_steps, strict=True
                )
            )
        )
        self.conv_out = RepeatedFrameConv(widths[-1], PATCH**2 * config.image_channels, padding=padding)

    def forward(self, z: Latents) -> Images:
        h = self.levels(self.mid(self.conv_in(z)))
        return out_of_squares(self.conv_out(F.silu(normalized(h))), PATCH)


def build(config: LTXConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
