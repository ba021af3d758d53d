"""Convolutional nets for waveforms: strided convolutions along time, with dilated residual units between them.

The structure is that of SoundStream (Zeghidour et al. 2021, arXiv 2107.03312, section III) and its successors, with two
changes for CPUs: the first level may have a long stride, so that nothing but one convolution runs at the sample rate,
and convolutions may overlap more than twice, like the windows of a filter bank. Activations are Snake,
x + sin(a x)^2 / a with one a per channel (Liu et al. 2020, arXiv 2006.08195), or ELU. The last convolution of a
residual unit is initialized to zero.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vaekit.geometry import Geometry

SNAKE, ELU = "snake", "elu"
EPSILON = 1e-9
"""Added to the divisor of Snake."""


@dataclass(frozen=True)
class WaveformConfig:
    """The architecture of encoder and decoder."""

    audio_channels: int
    latent_channels: int
    strides: tuple[int, ...]
    """Of each level, from the waveform on; the ratio is their product."""
    widths: tuple[int, ...]
    """Channels of each level."""
    dilations: tuple[int, ...] = (1, 3, 9)
    """Of the residual units of each level."""
    kernel: int = 7
    """The kernel size of residual units, odd."""
    overlap: int = 2
    """The kernel size of strided convolutions, in strides."""
    activation: str = SNAKE
    kind: str = field(default="waveform", init=False)

    def __post_init__(self) -> None:
        if not self.strides or len(self.strides) != len(self.widths):
            raise ValueError(f"there are {len(self.strides)} strides and {len(self.widths)} widths")
        numbers = (*self.strides, *self.widths, *self.dilations, self.overlap, self.audio_channels)
        if min(numbers) < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError("strides, widths, dilations and overlap must be 1 or more, and the kernel odd")
        if self.activation not in (SNAKE, ELU):
            raise ValueError(f"activation is {self.activation!r}, and not {SNAKE} or {ELU}")

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length, with a latent for each `hop` samples."""
        return Geometry(self.audio_channels, self.latent_channels, (math.prod(self.strides),))

    @property
    def data_shape(self) -> None:
        """Waveforms have any length."""
        return

    @property
    def blocks(self) -> int:
        """Residual units and strided convolutions of one half."""
        return len(self.strides) * (len(self.dilations) + 1)

    def build(self, moments: int, outputs: int) -> tuple["Encoder", "Decoder"]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` decoder outputs per data
        value."""
        return Encoder(self, moments), Decoder(self, outputs)

    def activate(self, channels: int) -> nn.Module:
        """The activation of this many channels."""
        return Snake(channels) if self.activation == SNAKE else nn.ELU()


class Snake(nn.Module):
    """x + sin(a x)^2 / a, with a learned per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x).square() / (self.alpha + EPSILON)


class Unit(nn.Module):
    """x + conv1(act(conv_dilated(act(x)))), the last convolution initialized to zero."""

    def __init__(self, config: WaveformConfig, width: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (config.kernel - 1) // 2
        self.act1, self.act2 = config.activate(width), config.activate(width)
        self.conv1 = nn.Conv1d(width, width, config.kernel, padding=padding, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act2(self.conv1(self.act1(x))))


class Encoder(nn.Module):
    """Waveforms (b, c, t) in [-1, 1] -> moments (b, m z, t / hop)."""

    def __init__(self, config: WaveformConfig, moments: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = config.audio_channels
        for number, (stride, width) in enumerate(zip(config.strides, config.widths, strict=True)):
            layers += [config.activate(before)] if number else []
            layers += [down(config, before, width, stride), *units(config, width)]
            before = width
        layers += [config.activate(before), nn.Conv1d(before, moments * config.latent_channels, 3, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Decoder(nn.Module):
    """Raw latents (b, z, frames) -> parameters (b, k c, frames * hop)."""

    def __init__(self, config: WaveformConfig, outputs: int) -> None:
        super().__init__()
        inwards = (outputs * config.audio_channels, *config.widths)
        layers: list[nn.Module] = [nn.Conv1d(config.latent_channels, config.widths[-1], 3, padding=1)]
        levels = zip(config.strides, config.widths, inwards, strict=False)
        for stride, width, after in reversed(list(levels)):
            layers += [*units(config, width), config.activate(width), up(config, width, after, stride)]
        self.body = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


def units(config: WaveformConfig, width: int) -> list[nn.Module]:
    """The residual units of a level."""
    return [Unit(config, width, dilation) for dilation in config.dilations]


def down(config: WaveformConfig, before: int, width: int, stride: int) -> nn.Module:
    """A convolution that divides the length by its stride exactly; one with the stride 1 has the kernel of units."""
    if stride == 1:
        return nn.Conv1d(before, width, config.kernel, padding=config.kernel // 2)
    excess = (config.overlap - 1) * stride
    return nn.Conv1d(before, width, config.overlap * stride, stride, padding=-(-excess // 2))


def up(config: WaveformConfig, width: int, after: int, stride: int) -> nn.Module:
    """A transposed convolution that multiplies the length by its stride exactly."""
    if stride == 1:
        return nn.Conv1d(width, after, config.kernel, padding=config.kernel // 2)
    excess = (config.overlap - 1) * stride
    return nn.ConvTranspose1d(
        *(width, after, config.overlap * stride, stride), padding=-(-excess // 2), output_padding=excess % 2
    )
