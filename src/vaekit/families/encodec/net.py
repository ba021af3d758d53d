"""EnCodec: the causal codec at 24 kHz, MusicGen's at 32 kHz, and that of music at 48 kHz (Défossez et al. 2022, arXiv
2210.13438; transformers' EncodecModel).

Convolutions with reflected edges and LSTMs; the head quantizes residuals with one codebook after another. The decoder
takes sums of codebook vectors. Layers are numbered as in the published code, with activations between them.

At 24 and 32 kHz, convolutions have weight normalization. At 48 kHz, a group norm over time follows each, and by
definition chunks of one second that overlap by 1 % are coded separately, each divided by its loudness. The loudness is
the last channel of the latents, with the same value at all positions of a chunk. As by transformers' processor, the
last chunk is continued with zeros before its loudness is computed.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.audio_format import AudioFormat
from vaekit.distributions import Quantized
from vaekit.families.waveform import ASSUMED_RATE, NormedConv1d, NormedConvTranspose1d
from vaekit.geometry import EDGE, ZEROS, Geometry
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.shapes import Codes

GROWTH = 2
"""The dilation of each residual block of a level, relative to the one before it."""
SILENCE = 1e-8
"""Added to the loudness of a chunk."""


@dataclass(frozen=True)
class EncodecConfig:
    """The shape of an EnCodec; each level of the encoder doubles the channels.

    Raises:
        ValueError: a number is less than 1.
    """

    audio_channels: int
    latent_channels: int
    width: int
    """Channels after the first convolution of the encoder."""
    strides: tuple[int, ...]
    """The factor of each level of the encoder in time; the decoder has them in reverse."""
    residual_blocks: int
    """Of each level."""
    compress: int
    """The factor by which residual blocks narrow their inside."""
    shortcuts: bool
    """Whether residual blocks have a convolution on their shortcut."""
    kernel: int
    """The size of the first convolution of both halves."""
    last_kernel: int
    """That of the last convolution."""
    residual_kernel: int
    lstm_layers: int
    codes: int
    """The number of vectors in each codebook."""
    stages: int
    """The number of codebooks."""
    causal: bool
    """Whether convolutions see no later positions. Weights do not determine it."""
    weight_norm: bool
    """Whether the file holds weights as norms and directions."""
    sample_rate: int
    """In Hz; 0 if it is unknown."""
    chunk: int = 0
    """The samples of each chunk, if chunks are coded separately by a network with group norms; 0 for a network with
    weight normalization, which codes whole waveforms."""
    overlap: int = 0
    """The samples that a chunk shares with the next one."""

    def __post_init__(self) -> None:
        sizes = (self.kernel, self.last_kernel, self.residual_kernel, self.lstm_layers, self.compress)
        counts = (self.audio_channels, self.latent_channels, self.codes, self.stages, *sizes, *self.strides)
        if min(counts) < 1 or self.width < self.compress or not self.strides or self.residual_blocks < 0:
            raise ValueError("channels, strides, sizes and numbers of layers must be 1 or more")
        _ = self.geometry

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length. Reflection needs as many latent positions as the largest kernel at the latent. Of
        chunks, the latents have one more channel, the loudness."""
        chunked = self.chunk > 0
        return Geometry(
            self.audio_channels,
            self.latent_channels + chunked,
            (math.prod(self.strides),),
            least_positions=max(self.kernel, self.last_kernel),
            padding=ZEROS if chunked else EDGE,
            chunk=self.chunk,
            overlap=self.overlap,
        )

    @property
    def blocks(self) -> int:
        """Levels, each with at least one convolution."""
        return len(self.strides) * max(1, self.residual_blocks)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first level of the encoder, and after each."""
        return tuple(self.width << i for i in range(len(self.strides) + 1))


def audio_format(config: EncodecConfig) -> AudioFormat:
    """The sample rate and the channels of the waveforms."""
    return AudioFormat(config.sample_rate or ASSUMED_RATE, config.audio_channels)


def norm(config: EncodecConfig, channels: int) -> nn.Module:
    """What follows each convolution."""
    return nn.GroupNorm(1, channels) if config.chunk else nn.Identity()


class ReflectedConv(nn.Module):
    """A convolution whose input is reflected at its ends; a causal one sees the current position and earlier ones."""

    def __init__(
        self, config: EncodecConfig, in_channels: int, out_channels: int, size: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        conv = NormedConv1d if config.weight_norm else nn.Conv1d
        self.conv = conv(in_channels, out_channels, size, stride=stride, dilation=dilation)
        self.norm = norm(config, out_channels)
        around = (size - 1) * dilation + 1 - stride
        self.after = 0 if config.causal else around // 2
        self.before = around - self.after

    def forward(self, x: Tensor) -> Tensor:
        # Fewer positions than are reflected: zeros are appended for the reflection, as in the published code.
        lacking = max(0, self.before + 1 - x.shape[2])
        extended = F.pad(x, (0, lacking)) if lacking else x
        padded = F.pad(extended, (self.before, self.after), mode="reflect") if self.before else extended
        return self.norm(self.conv(padded[..., : padded.shape[2] - lacking] if lacking else padded))


class CutConvTranspose(nn.Module):
    """A transposed convolution of twice its stride, of which the end is cut off, or both ends if it is not causal:
    (b, c, t) -> (b, c', s t)."""

    def __init__(self, config: EncodecConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        conv = NormedConvTranspose1d if config.weight_norm else nn.ConvTranspose1d
        self.conv = conv(in_channels, out_channels, 2 * stride, stride=stride)
        self.norm = norm(config, out_channels)
        self.stride = stride
        self.start = 0 if config.causal else stride - stride // 2

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))[..., self.start : self.start + self.stride * x.shape[2]]


class Recurrent(nn.Module):
    """x plus the outputs of an LSTM over all positions."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers)

    def forward(self, x: Tensor) -> Tensor:
        h = x.permute(2, 0, 1)
        return (self.lstm(h)[0] + h).permute(1, 2, 0)


class ResidualBlock(nn.Module):
    """A shortcut plus an activation, a dilated convolution, an activation and a convolution of 1."""

    def __init__(self, config: EncodecConfig, channels: int, dilation: int) -> None:
        super().__init__()
        inside, size = channels // config.compress, config.residual_kernel
        self.block = nn.ModuleList(
            (
                nn.ELU(),
                ReflectedConv(config, channels, inside, size, dilation=dilation),
                nn.ELU(),
                ReflectedConv(config, inside, channels, 1),
            )
        )
        self.shortcut = ReflectedConv(config, channels, channels, 1) if config.shortcuts else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.block:
            h = layer(h)
        return self.shortcut(x) + h


def residual_blocks(config: EncodecConfig, channels: int) -> list[nn.Module]:
    """The residual blocks of a level."""
    return [ResidualBlock(config, channels, GROWTH**j) for j in range(config.residual_blocks)]


class Half(nn.Module):
    """Layers in sequence."""

    def __init__(self, config: EncodecConfig, layers: list[nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Encoder(Half):
    """Waveforms (b, c, hop t) -> (b, z, t)."""

    def __init__(self, config: EncodecConfig) -> None:
        widths = config.widths
        layers: list[nn.Module] = [ReflectedConv(config, config.audio_channels, widths[0], config.kernel)]
        for before, stride in zip(widths[:-1], config.strides, strict=True):
            layers += residual_blocks(config, before)
            layers += [nn.ELU(), ReflectedConv(config, before, 2 * before, 2 * stride, stride)]
        layers += [Recurrent(widths[-1], config.lstm_layers), nn.ELU()]
        layers += [ReflectedConv(config, widths[-1], config.latent_channels, config.last_kernel)]
        super().__init__(config, layers)


class Decoder(Half):
    """Sums of codebook vectors (b, z, t) -> waveforms (b, c, hop t)."""

    def __init__(self, config: EncodecConfig) -> None:
        widths = config.widths
        layers: list[nn.Module] = [ReflectedConv(config, config.latent_channels, widths[-1], config.kernel)]
        layers += [Recurrent(widths[-1], config.lstm_layers)]
        for after, stride in zip(widths[-2::-1], config.strides[::-1], strict=True):
            layers += [nn.ELU(), CutConvTranspose(config, 2 * after, after, stride)]
            layers += residual_blocks(config, after)
        layers += [nn.ELU(), ReflectedConv(config, widths[0], config.audio_channels, config.last_kernel)]
        super().__init__(config, layers)


class ChunkEncoder(Encoder):
    """Chunks of waveforms (b, c, hop t) -> (b, z + 1, t): moments of the chunk divided by its loudness, and the
    loudness, which is the root mean square of the mean of its channels."""

    def forward(self, x: Tensor) -> Tensor:
        loudness = x.mean(dim=1, keepdim=True).square().mean(dim=2, keepdim=True).sqrt() + SILENCE
        h = super().forward(x / loudness)
        return torch.cat([h, loudness.expand(-1, -1, h.shape[2])], dim=1)


class ChunkDecoder(Decoder):
    """Sums of codebook vectors and the loudness (b, z + 1, t) -> chunks of waveforms (b, c, hop t)."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z[:, :-1]) * z[:, -1:].mean(dim=2, keepdim=True)


class QuantizerBesideLoudness(ResidualQuantizer):
    """Moments (b, d + 1, t) -> all channels quantized but the last, the loudness, which the codes do not determine."""

    def forward(self, moments: Tensor) -> Quantized:
        quantized = super().forward(moments[:, :-1])
        loudness = moments[:, -1:].to(quantized.embedded)
        continuous, embedded = (
            torch.cat([each, loudness], dim=1) for each in (quantized.continuous, quantized.embedded)
        )
        return replace(quantized, continuous=continuous, embedded=embedded)

    def embed(self, codes: Codes) -> Tensor:
        """Indices (b, n, t) -> latents (b, d + 1, t) with a loudness of 1."""
        return F.pad(super().embed(codes), (0, 0, 0, 1), value=1.0)


def quantizer(config: EncodecConfig) -> ResidualQuantizer:
    """The head of an EnCodec."""
    make = QuantizerBesideLoudness if config.chunk else ResidualQuantizer
    return make(config.codes, config.latent_channels, config.stages)


def build(config: EncodecConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return (ChunkEncoder(config), ChunkDecoder(config)) if config.chunk else (Encoder(config), Decoder(config))
