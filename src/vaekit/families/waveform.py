"""Layers of convolutional autoencoders of waveforms, from SoundStream's and DAC's line.

An encoder is a convolution, levels of three dilated residual units and a strided convolution, and a last convolution
(Zeghidour et al. 2021, arXiv 2107.03312; Kumar et al. 2023, arXiv 2306.06546); a decoder is its mirror image. Families
differ in their activation, in the weight normalization of their files, and in what they add at the latent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.geometry import ZEROS, Geometry

DILATIONS = (1, 3, 9)
"""Of the residual units of a level."""
SNAKE_EPSILON = 1e-9
"""Added to the denominator of Snake in all published models."""
ASSUMED_RATE = 44_100
"""The sample rate in Hz of a network whose rate is unknown."""


@dataclass(frozen=True)
class WaveformConfig:
    """The shape of such an autoencoder.

    Raises:
        ValueError: there are no levels, or there is not one width before each level and one after the last.
    """

    audio_channels: int
    """1 for mono, 2 for stereo."""
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels before the first level of the encoder, and after each level."""
    decoder_widths: tuple[int, ...]
    """Channels before the first level of the decoder, at the latent, and after each level."""
    strides: tuple[int, ...]
    """The factor of each level of the encoder in time; the decoder has them in reverse."""
    weight_norm: bool
    """Whether the file holds weights as norms and directions."""
    sample_rate: int
    """In Hz; 0 if it is unknown, since weights do not determine it."""

    def __post_init__(self) -> None:
        lengths = {len(self.encoder_widths), len(self.decoder_widths)}
        if not self.strides or lengths != {len(self.strides) + 1}:
            raise ValueError(
                f"{len(self.strides)} strides; expected one fewer than widths of each half, and at least one"
            )

    @property
    def hop(self) -> int:
        """Samples per latent position."""
        return math.prod(self.strides)

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length, padded with silence as in the published code."""
        return Geometry(self.audio_channels, self.latent_channels, (self.hop,), padding=ZEROS)

    @property
    def blocks(self) -> int:
        """Residual units of a half."""
        return len(DILATIONS) * len(self.strides)


def audio_format(config: WaveformConfig) -> AudioFormat:
    """The sample rate and the channels of the waveforms."""
    return AudioFormat(config.sample_rate or ASSUMED_RATE, config.audio_channels)


def normed(direction: Tensor, norm: Tensor) -> Tensor:
    """The weight of a convolution with these directions (first axis apart) and norms (Salimans & Kingma 2016, arXiv
    1602.07868, eq. 2)."""
    return direction * (norm / lengths(direction))


def lengths(weight: Tensor) -> Tensor:
    """The norm of each slice along the first axis, (n, 1, 1)."""
    return torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)


class NormedConv1d(nn.Module):
    """A convolution whose weight is stored as norms and directions; arguments as those of `nn.Conv1d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        plain = nn.Conv1d(in_channels, out_channels, kernel_size, bias=bias)
        self.weight_g = nn.Parameter(lengths(plain.weight.detach()))
        self.weight_v = nn.Parameter(plain.weight.detach())
        self.bias = plain.bias
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        # The weight does not depend on the input: the streaming engine computes it once.
        weight = normed(self.weight_v, self.weight_g)
        return F.conv1d(x, weight, self.bias, self.stride, self.padding, self.dilation)


class NormedConvTranspose1d(nn.Module):
    """A transposed convolution whose weight is stored as norms, one for each input channel, and directions; arguments
    as those of `nn.ConvTranspose1d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
    ) -> None:
        super().__init__()
        plain = nn.ConvTranspose1d(in_channels, out_channels, kernel_size)
        self.weight_g = nn.Parameter(lengths(plain.weight.detach()))
        self.weight_v = nn.Parameter(plain.weight.detach())
        self.bias = plain.bias
        self.stride, self.padding, self.output_padding = stride, padding, output_padding

    def forward(self, x: Tensor) -> Tensor:
        weight = normed(self.weight_v, self.weight_g)
        return F.conv_transpose1d(x, weight, self.bias, self.stride, self.padding, self.output_padding)


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, with one frequency for each channel (Liu et al. 2020, arXiv 2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha + SNAKE_EPSILON).reciprocal() * torch.sin(self.alpha * x).square()


class LogSnake(nn.Module):
    """x + sin(e^alpha x)^2 / e^beta, with a frequency and an amplitude for each channel (BigVGAN's SnakeBeta: Lee et
    al. 2022, arXiv 2206.04658)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.beta.exp() + SNAKE_EPSILON).reciprocal() * torch.sin(self.alpha.exp() * x).square()


@dataclass(frozen=True)
class Layers:
    """The layers that a network consists of."""

    snake: Callable[[int], nn.Module]
    """Creates the activation of a number of channels."""
    conv: Callable[..., nn.Module]
    """Creates a convolution, with the arguments of `nn.Conv1d`."""
    transposed: Callable[..., nn.Module]
    """Creates a transposed convolution, with the arguments of `nn.ConvTranspose1d`."""
    complete: bool = True
    """Whether transposed convolutions of an odd stride s return s positions for each, rather than one fewer at the
    end."""


def layers(snake: Callable[[int], nn.Module], weight_norm: bool, complete: bool = True) -> Layers:
    """The layers with an activation, and with or without weight normalization."""
    if weight_norm:
        return Layers(snake, NormedConv1d, NormedConvTranspose1d, complete)
    return Layers(snake, nn.Conv1d, nn.ConvTranspose1d, complete)


class ResidualUnit(nn.Module):
    """x plus an activation, a dilated convolution of 7, an activation and a convolution of 1."""

    def __init__(self, channels: int, dilation: int, make: Layers) -> None:
        super().__init__()
        self.snake1 = make.snake(channels)
        self.conv1 = make.conv(channels, channels, 7, padding=3 * dilation, dilation=dilation)
        self.snake2 = make.snake(channels)
        self.conv2 = make.conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.snake2(self.conv1(self.snake1(x))))


class EncoderLevel(nn.Module):
    """Three residual units, then a strided convolution: (b, c, s t) -> (b, c', t)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, make: Layers) -> None:
        super().__init__()
        self.res_unit1, self.res_unit2, self.res_unit3 = (ResidualUnit(in_channels, each, make) for each in DILATIONS)
        self.snake1 = make.snake(in_channels)
        padding = math.ceil(stride / 2)
        self.conv1 = make.conv(in_channels, out_channels, 2 * stride, stride=stride, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.snake1(self.res_unit3(self.res_unit2(self.res_unit1(x)))))


class DecoderLevel(nn.Module):
    """A transposed convolution, then three residual units: (b, c, t) -> (b, c', s t)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, make: Layers) -> None:
        super().__init__()
        self.snake1 = make.snake(in_channels)
        self.conv_t1 = make.transposed(
            in_channels,
            out_channels,
            2 * stride,
            stride=stride,
            padding=math.ceil(stride / 2),
            output_padding=stride % 2 if make.complete else 0,
        )
        self.res_unit1, self.res_unit2, self.res_unit3 = (ResidualUnit(out_channels, each, make) for each in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_unit3(self.res_unit2(self.res_unit1(self.conv_t1(self.snake1(x)))))


class WaveformEncoder(nn.Module):
    """Waveforms (b, c, hop t) -> (b, outputs, t)."""

    def __init__(self, config: WaveformConfig, make: Layers, outputs: int) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv1 = make.conv(config.audio_channels, widths[0], 7, padding=3)
        self.block = nn.ModuleList(
            EncoderLevel(before, after, stride, make)
            for (before, after), stride in zip(pairwise(widths), config.strides, strict=True)
        )
        self.snake1 = make.snake(widths[-1])
        self.conv2 = make.conv(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        for level in self.block:
            h = level(h)
        return self.conv2(self.snake1(h))


class WaveformDecoder(nn.Module):
    """Inputs (b, inputs, t) -> waveforms (b, c, hop t)."""

    def __init__(self, config: WaveformConfig, make: Layers, inputs: int, bias: bool = True) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        self.conv1 = make.conv(inputs, widths[0], 7, padding=3)
        self.block = nn.ModuleList(
            DecoderLevel(before, after, stride, make)
            for (before, after), stride in zip(pairwise(widths), config.strides[::-1], strict=True)
        )
        self.snake1 = make.snake(widths[-1])
        self.conv2 = make.conv(widths[-1], config.audio_channels, 7, padding=3, bias=bias)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv1(z)
        for level in self.block:
            h = level(h)
        return self.conv2(self.snake1(h))
