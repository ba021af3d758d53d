"""VibeVoice's acoustic tokenizer (Peng et al. 2025, arXiv 2508.19205; transformers' VibeVoiceAcousticTokenizerModel).

Causal convolutions change the length; between them are depthwise causal convolutions and perceptrons (ConvNeXt: Liu et
al. 2022, arXiv 2201.03545). The encoder outputs means; the standard deviation is a constant of the model, a sigma-VAE.
The authors draw it for each item from N(0, std^2), which has the same variance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.distributions import DiagonalGaussian, Posterior
from vaekit.families.waveform import ASSUMED_RATE
from vaekit.geometry import Geometry

EPSILON = 1e-5
"""Of the norms, in the published config."""


@dataclass(frozen=True)
class VibeVoiceConfig:
    """The shape of the tokenizer. Stages are listed from full resolution downwards, in both halves.

    Raises:
        ValueError: lengths of lists do not match, or a number is less than 1.
    """

    audio_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels of each stage of the encoder."""
    decoder_widths: tuple[int, ...]
    """Channels of each stage of the decoder."""
    strides: tuple[int, ...]
    """The factor in time between each stage and the next."""
    encoder_depths: tuple[int, ...]
    """Blocks of each stage of the encoder."""
    decoder_depths: tuple[int, ...]
    """Blocks of each stage of the decoder."""
    kernel: int
    """The size of the convolutions that do not change the length."""
    expansion: int
    """The inner width of the perceptrons, relative to the outer one."""
    std: float
    """The standard deviation of latents. Weights do not determine it."""
    sample_rate: int
    """In Hz; 0 if it is unknown."""

    def __post_init__(self) -> None:
        lists = (self.encoder_widths, self.decoder_widths, self.encoder_depths, self.decoder_depths)
        if not self.strides or {len(each) for each in lists} != {len(self.strides) + 1}:
            raise ValueError("there is not one width and one number of blocks for each stage")
        numbers = (self.audio_channels, self.latent_channels, self.kernel, self.expansion, *self.strides)
        if min((*numbers, *self.encoder_widths, *self.decoder_widths)) < 1 or min(map(min, lists)) < 0:
            raise ValueError("channels, strides and sizes must be 1 or more")
        if not 0 < self.std < math.inf:
            raise ValueError(f"a standard deviation of {self.std}; expected a positive number")

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length."""
        return Geometry(self.audio_channels, self.latent_channels, (math.prod(self.strides),))

    @property
    def blocks(self) -> int:
        """Blocks of the larger half, and a convolution for each stage."""
        return len(self.strides) + max(sum(self.encoder_depths), sum(self.decoder_depths))


def audio_format(config: VibeVoiceConfig) -> AudioFormat:
    """The sample rate and the channels of the waveforms."""
    return AudioFormat(config.sample_rate or ASSUMED_RATE, config.audio_channels)


class CausalConv(nn.Module):
    """A convolution that sees the current position and earlier ones, with zeros before the start."""

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, size, stride=stride, groups=groups)
        self.before = size - stride

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.before, 0)))


class CausalConvTranspose(nn.Module):
    """A transposed convolution of twice its stride, of which the end is cut off: (b, c, t) -> (b, c', s t)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convtr = nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride=stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return self.convtr(x)[..., : self.stride * x.shape[2]]


class ChannelNorm(nn.Module):
    """x divided by the root of the mean square over channels, with a weight for each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight[:, None] * (x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON))


class Perceptron(nn.Module):
    """Two linear layers over the channels of every position, with a GELU between them."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, inside)
        self.linear2 = nn.Linear(inside, channels)

    def forward(self, x: Tensor) -> Tensor:
        return over_channels(self.linear2, F.gelu(over_channels(self.linear1, x)))


def over_channels(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer as a convolution of 1: (b, c, t) -> (b, c', t)."""
    return F.conv1d(x, linear.weight.unsqueeze(2), linear.bias)


class Block(nn.Module):
    """A scaled depthwise convolution and a scaled perceptron, each added to its input."""

    def __init__(self, config: VibeVoiceConfig, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.ffn_norm = ChannelNorm(channels)
        self.ffn = Perceptron(channels, config.expansion * channels)
        self.gamma = nn.Parameter(torch.ones(channels))
        self.ffn_gamma = nn.Parameter(torch.ones(channels))
        self.mixer = CausalConv(channels, channels, config.kernel, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm(x)) * self.gamma[:, None]
        return x + self.ffn(self.ffn_norm(x)) * self.ffn_gamma[:, None]


class Stage(nn.Module):
    """A convolution, then blocks; `name` is the attribute of the convolution, "conv" or "convtr"."""

    def __init__(self, config: VibeVoiceConfig, name: str, conv: nn.Module, channels: int, depth: int) -> None:
        super().__init__()
        self.add_module(name, conv)
        self.name = name
        self.stage = nn.ModuleList(Block(config, channels) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.get_submodule(self.name)(x)
        for block in self.stage:
            x = block(x)
        return x


class Half(nn.Module):
    """The first stage, those that change the length, and a last convolution."""

    def __init__(self, config: VibeVoiceConfig, stem: Stage, stages: list[Stage], head: CausalConv) -> None:
        super().__init__()
        self.config = config
        self.stem = stem
        self.conv_layers = nn.ModuleList(stages)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.conv_layers:
            x = stage(x)
        return self.head(x)


class Encoder(Half):
    """Waveforms (b, c, hop t) -> means (b, z, t)."""

    def __init__(self, config: VibeVoiceConfig) -> None:
        widths, depths, size = config.encoder_widths, config.encoder_depths, config.kernel
        stem = CausalConv(config.audio_channels, widths[0], size)
        stages = [
            Stage(config, "conv", CausalConv(before, after, 2 * stride, stride), after, depth)
            for (before, after), stride, depth in zip(pairwise(widths), config.strides, depths[1:], strict=True)
        ]
        head = CausalConv(widths[-1], config.latent_channels, size)
        super().__init__(config, Stage(config, "conv", stem, widths[0], depths[0]), stages, head)


class Decoder(Half):
    """Raw latents (b, z, t) -> waveforms (b, c, hop t)."""

    def __init__(self, config: VibeVoiceConfig) -> None:
        widths, depths, size = config.decoder_widths[::-1], config.decoder_depths[::-1], config.kernel
        stem = CausalConv(config.latent_channels, widths[0], size)
        stages = [
            Stage(config, "convtr", CausalConvTranspose(before, after, stride), after, depth)
            for (before, after), stride, depth in zip(pairwise(widths), config.strides[::-1], depths[1:], strict=True)
        ]
        head = CausalConv(widths[-1], config.audio_channels, size)
        super().__init__(config, Stage(config, "conv", stem, widths[0], depths[0]), stages, head)


def posterior(config: VibeVoiceConfig) -> Callable[[Tensor], Posterior]:
    """The head: means -> a Gaussian with the standard deviation of the model."""

    def head(means: Tensor) -> DiagonalGaussian:
        exact = means.to(torch.promote_types(means.dtype, torch.float32))
        return DiagonalGaussian(exact, torch.full_like(exact, 2 * math.log(config.std)))

    return head


def build(config: VibeVoiceConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
