"""LongCat-AudioDiT's autoencoder of waveforms (diffusers' LongCatAudioDiTVae).

Oobleck's halves with shortcuts around every change of length or width, as in DC-AE (Chen et al. 2024, arXiv
2410.10733): averages on the way down, repetitions on the way up. Both are convolutions with constant weights here.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.waveform import (
    DecoderLevel,
    EncoderLevel,
    LogSnake,
    WaveformConfig,
    layers,
)


@dataclass(frozen=True)
class LongCatConfig(WaveformConfig):
    """The shape of the autoencoder.

    Raises:
        ValueError: a stride is odd, or values cannot be averaged or repeated in equal groups.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(stride % 2 for stride in self.strides):
            raise ValueError(f"the strides {self.strides} are not all even")
        for (before, after), stride in zip(pairwise(self.encoder_widths), self.strides, strict=True):
            check_groups(before, after, stride)
        for (before, after), stride in zip(pairwise(self.decoder_widths), self.strides[::-1], strict=True):
            check_groups(after, before, stride)
        check_groups(self.encoder_widths[-1], 2 * self.latent_channels, 1)
        check_groups(self.decoder_widths[0], self.latent_channels, 1)


def check_groups(wide: int, narrow: int, stride: int) -> None:
    """Check that a change between `wide` channels and `narrow` ones for each `stride` positions has equal groups.

    Raises:
        ValueError: it does not.
    """
    group = wide * stride // narrow
    if wide * stride % narrow or not group or (group % stride and stride % group):
        raise ValueError(f"{wide} channels at {stride} positions cannot be averaged to {narrow} channels")


class Averages(nn.Module):
    """(b, c, s t) -> (b, c', t): samples are rearranged to channels (b, c s, t), which are averaged in groups."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.out_channels, self.stride = channels, out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        groups = min(self.channels, self.out_channels)
        weight = shares(self.channels, self.out_channels, self.stride, x.dtype, x.device)
        return F.conv1d(x, weight, stride=self.stride, groups=groups)


class Repetitions(nn.Module):
    """(b, c, t) -> (b, c', s t): channels are repeated to (b, c' s, t), and rearranged to samples."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.out_channels, self.stride = channels, out_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        groups = min(self.channels, self.out_channels)
        weight = shares(self.out_channels, self.channels, self.stride, x.dtype, x.device)
        return F.conv_transpose1d(x, (weight > 0).to(weight.dtype), stride=self.stride, groups=groups)


def shares(channels: int, out_channels: int, stride: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The weight of the grouped convolution that averages: output channel o is the mean of the g values with numbers
    o g, ..., o g + g - 1, where value number c s + j is channel c at position j of s."""
    group = channels * stride // out_channels
    if channels >= out_channels:
        return torch.full((out_channels, channels // out_channels, stride), 1 / group, dtype=dtype, device=device)
    parts = out_channels // channels
    first = torch.arange(out_channels, device=device)[:, None] % parts * group
    positions = torch.arange(stride, device=device)
    inside = (positions >= first) & (positions < first + group)
    return (inside.to(dtype) / group).unsqueeze(1)


class ShortcutEncoderLevel(EncoderLevel):
    """A level of the encoder, plus averages of its input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, weight_norm: bool) -> None:
        super().__init__(in_channels, out_channels, stride, layers(LogSnake, weight_norm))
        self.shortcut = Averages(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shortcut(x)


class ShortcutDecoderLevel(DecoderLevel):
    """A level of the decoder, plus repetitions of its input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, weight_norm: bool) -> None:
        super().__init__(in_channels, out_channels, stride, layers(LogSnake, weight_norm))
        self.shortcut = Repetitions(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shortcut(x)


class Encoder(nn.Module):
    """Waveforms (b, c, hop t) -> moments (b, 2z, t): mean in the first z channels, in the last the arguments of a
    softplus."""

    def __init__(self, config: LongCatConfig) -> None:
        super().__init__()
        self.config = config
        widths, outputs = config.encoder_widths, 2 * config.latent_channels
        conv = layers(LogSnake, config.weight_norm).conv
        self.conv1 = conv(config.audio_channels, widths[0], 7, padding=3)
        self.block = nn.ModuleList(
            ShortcutEncoderLevel(before, after, stride, config.weight_norm)
            for (before, after), stride in zip(pairwise(widths), config.strides, strict=True)
        )
        self.conv2 = conv(widths[-1], outputs, 3, padding=1)
        self.shortcut = Averages(widths[-1], outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        for level in self.block:
            h = level(h)
        return self.conv2(h) + self.shortcut(h)


class Decoder(nn.Module):
    """Raw latents (b, z, t) -> waveforms (b, c, hop t)."""

    def __init__(self, config: LongCatConfig) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.decoder_widths, config.latent_channels
        make = layers(LogSnake, config.weight_norm)
        self.conv1 = make.conv(latent, widths[0], 7, padding=3)
        self.shortcut = Repetitions(latent, widths[0], 1)
        self.block = nn.ModuleList(
            ShortcutDecoderLevel(before, after, stride, config.weight_norm)
            for (before, after), stride in zip(pairwise(widths), config.strides[::-1], strict=True)
        )
        self.snake1 = make.snake(widths[-1])
        self.conv2 = make.conv(widths[-1], config.audio_channels, 7, padding=3, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv1(z) + self.shortcut(z)
        for level in self.block:
            h = level(h)
        return self.conv2(self.snake1(h))


def build(config: LongCatConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
