"""MiniMax-H3's autoencoder of waveforms (diffusers' AutoencoderKLMiniMaxH3Audio).

The encoder is DAC's, followed by causal attention that narrows its output to the latent; the decoder is BigVGAN (Lee et
al. 2022, arXiv 2206.04658). It is mono: the model encodes the channels of stereo as two items.
"""

import math
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.families.vocoders import AntiAliased
from vaekit.families.waveform import ASSUMED_RATE, Layers, Snake, WaveformConfig, WaveformEncoder, layers
from vaekit.geometry import Geometry

MLP_RATIO = 2
"""The inner width of the perceptron, relative to the latent's channels."""


@dataclass(frozen=True)
class MiniMaxH3AudioConfig:
    """The shape of the autoencoder.

    Raises:
        ValueError: the lengths of lists do not match, encoder and decoder have different factors, the heads do not
            divide the channels, or a kernel and its stride differ by an odd number.
    """

    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Channels before the first level of the encoder, and after each level."""
    strides: tuple[int, ...]
    """The factor of each level of the encoder in time."""
    hidden_channels: int
    """Channels between the halves and the layers at the latent."""
    heads: int
    """Of the attention."""
    decoder_widths: tuple[int, ...]
    """Channels before the first upsampling of the decoder, and after each."""
    decoder_strides: tuple[int, ...]
    decoder_kernels: tuple[int, ...]
    """The kernel size of each upsampling."""
    kernels: tuple[int, ...]
    """Kernel sizes of the residual blocks that run side by side after each upsampling."""
    dilations: tuple[tuple[int, ...], ...]
    """Of each of them."""
    weight_norm: bool
    """Whether the file holds weights as norms and directions."""
    sample_rate: int
    """In Hz; 0 if it is unknown."""

    def __post_init__(self) -> None:
        if not self.strides or len(self.encoder_widths) != len(self.strides) + 1:
            raise ValueError("there is not one width before each level and one after the last")
        if {len(self.decoder_widths) - 1, len(self.decoder_kernels)} != {len(self.decoder_strides)}:
            raise ValueError("widths, kernels and strides of the decoder do not match")
        if math.prod(self.strides) != math.prod(self.decoder_strides):
            raise ValueError(f"strides {self.strides} and {self.decoder_strides} have different products")
        if any(kernel < stride or (kernel - stride) % 2 for kernel, stride in self.upsamplings):
            raise ValueError(f"kernels {self.decoder_kernels} do not fit strides {self.decoder_strides}")
        if self.heads < 1 or self.hidden_channels % self.heads:
            raise ValueError(f"{self.heads} heads do not divide {self.hidden_channels} channels")
        if not self.kernels or len(self.kernels) != len(self.dilations) or not all(self.dilations):
            raise ValueError("there is not one list of dilations for each kernel size")

    @property
    def upsamplings(self) -> tuple[tuple[int, int], ...]:
        """Kernel size and stride of each upsampling."""
        return tuple(zip(self.decoder_kernels, self.decoder_strides, strict=True))

    @property
    def geometry(self) -> Geometry:
        """Mono waveforms of any length."""
        return Geometry(1, self.latent_channels, (math.prod(self.strides),))

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        return max(3 * len(self.strides), len(self.kernels) * len(self.decoder_strides))


def audio_format(config: MiniMaxH3AudioConfig) -> AudioFormat:
    """The sample rate, and one channel."""
    return AudioFormat(config.sample_rate or ASSUMED_RATE, 1)


class CausalAttention(nn.Module):
    """Causal self-attention whose heads are averaged, and averaged again to fewer channels: (b, t, c) -> (b, t, z)."""

    zero_k_bias: Tensor

    def __init__(self, channels: int, out_channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.out_channels = heads, out_channels
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(channels))
        self.v_bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("zero_k_bias", torch.zeros(channels))
        self.proj = nn.Linear(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        fused = F.linear(x, self.qkv.weight, torch.cat((self.q_bias, self.zero_k_bias, self.v_bias)))
        q, k, v = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in fused.chunk(3, dim=2))
        averaged = F.scaled_dot_product_attention(q, k, v, is_causal=True).mean(dim=1)
        return self.proj(F.adaptive_avg_pool1d(averaged, self.out_channels))


class GatedPerceptron(nn.Module):
    """Norm, then gelu(a x) * b x, then a linear layer, at every position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.w0 = nn.Linear(channels, MLP_RATIO * channels)
        self.w1 = nn.Linear(channels, MLP_RATIO * channels)
        self.w2 = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return self.w2(F.gelu(self.w0(h), approximate="tanh") * self.w1(h))


class Narrowing(nn.Module):
    """From the width of the encoder to that of the latent: (b, t, c) -> (b, t, z)."""

    def __init__(self, channels: int, out_channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CausalAttention(channels, out_channels, heads)
        self.proj = nn.Linear(channels, out_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(out_channels)
        self.mlp = GatedPerceptron(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.proj(self.norm3(x)) + self.attn(self.norm1(x))
        return h + self.mlp(self.norm2(h))


class Encoder(WaveformEncoder):
    """Waveforms (b, 1, hop t) -> moments (b, 2z, t): mean in the first z channels, logarithm of the standard deviation
    in the last."""

    def __init__(self, config: MiniMaxH3AudioConfig, make: Layers) -> None:
        widths = config.encoder_widths
        half = WaveformConfig(1, config.latent_channels, widths, widths[::-1], config.strides, config.weight_norm, 0)
        super().__init__(half, make, config.hidden_channels)
        self.config = config  # type: ignore[assignment]
        self.pre_block = Narrowing(config.hidden_channels, config.latent_channels, config.heads)
        self.mean_proj = nn.Conv1d(config.latent_channels, config.latent_channels, 1)
        self.logs_proj = nn.Conv1d(config.latent_channels, config.latent_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pre_block(super().forward(x).transpose(1, 2)).transpose(1, 2)
        return torch.cat((self.mean_proj(h), self.logs_proj(h)), dim=1)


class PeriodicBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, with an anti-aliased activation before either; the results are
    added (BigVGAN's AMP block)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], make: Layers) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            make.conv(channels, channels, kernel, dilation=each, padding=(kernel - 1) * each // 2) for each in dilations
        )
        self.convs2 = nn.ModuleList(make.conv(channels, channels, kernel, padding=kernel // 2) for _ in dilations)
        self.activations = nn.ModuleList(AntiAliased(channels) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        activations = iter(self.activations)
        for first, second in zip(self.convs1, self.convs2, strict=True):
            h = first(next(activations)(x))
            x = x + second(next(activations)(h))
        return x


class Decoder(nn.Module):
    """Raw latents (b, z, t) -> waveforms (b, 1, hop t) in [-1, 1]."""

    def __init__(self, config: MiniMaxH3AudioConfig, make: Layers) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        self.dec_in_proj = nn.Conv1d(config.latent_channels, config.hidden_channels, 1)
        self.conv_pre = make.conv(config.hidden_channels, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(
            make.transposed(before, after, kernel, stride=stride, padding=(kernel - stride) // 2)
            for (before, after), (kernel, stride) in zip(pairwise(widths), config.upsamplings, strict=True)
        )
        self.resblocks = nn.ModuleList(
            PeriodicBlock(width, kernel, dilations, make)
            for width in widths[1:]
            for kernel, dilations in zip(config.kernels, config.dilations, strict=True)
        )
        self.activation_post = AntiAliased(widths[-1])
        self.conv_post = make.conv(widths[-1], 1, 7, padding=3, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_pre(self.dec_in_proj(z))
        count = len(self.config.kernels)
        for i, upsample in enumerate(self.ups):
            h = upsample(h)
            h = reduce(add, [block(h) for block in self.resblocks[i * count : (i + 1) * count]]) / count
        return self.conv_post(self.activation_post(h)).clamp(-1, 1)


def build(config: MiniMaxH3AudioConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    make = layers(Snake, config.weight_norm)
    return Encoder(config, make), Decoder(config, make)
