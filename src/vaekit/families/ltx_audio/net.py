"""The audio autoencoder of LTX-2 (Lightricks/LTX-2; diffusers' AutoencoderKLLTX2Audio and LTX2Vocoder).

Waveforms become log-mel spectrograms at 16 kHz, one for each audio channel, which a 2-D convolutional autoencoder
without GroupNorm encodes: it divides each position by the root mean square of its channels. Convolutions are causal in
time: 4n + 1 frames have n + 1 latent positions. A vocoder turns decoded spectrograms into waveforms of 24 kHz; that of
LTX-2.3 extends the bandwidth of its result to 48 kHz with a second one. Without a vocoder, the Griffin-Lim algorithm
makes waveforms of 16 kHz.

Latents have channels and bins in the files, (z, frames, bins); here they are one sequence (z * bins, frames), channel
c * bins + bin, the order in which LTX-2's transformer takes them.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.vocoders import Vocoder, VocoderConfig
from vaekit.geometry import Geometry
from vaekit.nets.mel import MelFormat, griffin_lim, log_mel
from vaekit.nets.resampling import resample

FACTOR = 4
"""Frames of the spectrogram per latent position, and bins per latent bin."""
WINDOW = 1024
NORM_EPSILON = 1e-6
SKIP_ZEROS, SKIP_ROLLOFF = 6, 0.99
"""Of the interpolation beside the bandwidth extension: zero crossings on each side, and the cutoff frequency."""


@dataclass(frozen=True)
class ExtensionConfig:
    """The shape of a bandwidth extension: a vocoder that adds high frequencies to the result of another one."""

    vocoder: VocoderConfig
    window: int
    hop: int
    """Samples from one frame to the next of the spectrogram that it takes. Weights do not determine it."""
    bins: int

    @property
    def ratio(self) -> int:
        """Samples of its result per sample of the first vocoder's."""
        return self.vocoder.hop // self.hop


@dataclass(frozen=True)
class LTXAudioConfig:
    """The shape of such an autoencoder."""

    audio_channels: int
    """Each has a spectrogram of its own."""
    channels: int
    """Channels of the latents as files have them, for each bin."""
    widths: tuple[int, int, int]
    """Channels of each level, from full resolution downwards, in both halves."""
    encoder_blocks: int
    """Residual blocks per level of the encoder; the decoder has one more."""
    bins: int = 64
    """Of the spectrograms. Weights do not determine them without a vocoder."""
    rate: int = 16000
    """Of the waveforms that spectrograms are made of, in Hz. Weights do not determine it, nor the hop."""
    hop: int = 160
    """Samples per frame at that rate."""
    vocoder: VocoderConfig | None = None
    extension: ExtensionConfig | None = None

    @property
    def latent_channels(self) -> int:
        """Channels of the latents as one sequence."""
        return self.channels * self.bins // FACTOR

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        return len(self.widths) * (self.encoder_blocks + 1)

    @property
    def samples(self) -> int:
        """Samples of the decoded waveform per frame."""
        ratio = 1 if self.extension is None else self.extension.ratio
        return (self.hop if self.vocoder is None else self.vocoder.hop) * ratio

    @property
    def sample_rate(self) -> int:
        """Of the waveforms that the VAE takes and outputs, in Hz."""
        return self.rate * self.samples // self.hop

    @property
    def mel(self) -> MelFormat:
        """The format of the spectrograms."""
        return MelFormat(self.rate, WINDOW, self.hop, self.bins, 0.0, self.rate / 2)

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length; the first sample has a latent position of its own."""
        factors = (FACTOR * self.samples,)
        return Geometry(self.audio_channels, self.latent_channels, factors, causal=True, least_positions=2)


class CausalConv(nn.Module):
    """A convolution that preserves the size of a map (b, c, time, bins) and sees no later times."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel)
        self.reach = kernel - 1

    def forward(self, x: Tensor) -> Tensor:
        side = self.reach // 2
        return self.conv(F.pad(x, (side, self.reach - side, self.reach, 0)))


def norm(x: Tensor) -> Tensor:
    """A map divided by the root mean square of the channels at each position."""
    return x * (x.square().mean(dim=1, keepdim=True) + NORM_EPSILON).rsqrt()


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on the shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = CausalConv(in_channels, out_channels)
        self.conv2 = CausalConv(out_channels, out_channels)
        self.nin_shortcut = nn.Identity() if in_channels == out_channels else CausalConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(norm(self.conv1(F.silu(norm(x))))))
        return self.nin_shortcut(x) + h


class Downsample(nn.Module):
    """Half as many frames and bins: 2n + 1 frames become n + 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 2, 0)))


class Upsample(nn.Module):
    """Twice as many bins, and frames except the first one: n + 1 frames become 2n + 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))[:, :, 1:]


class DownLevel(nn.Module):
    """Residual blocks, then half the resolution (except in the last level)."""

    def __init__(self, widths: list[int], halve: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise(widths))
        self.downsample = Downsample(widths[-1]) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.downsample(x)


class UpLevel(nn.Module):
    """Residual blocks, then twice the resolution (except in the level at full resolution)."""

    def __init__(self, widths: list[int], double: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise(widths))
        self.upsample = Upsample(widths[-1]) if double else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.upsample(x)


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x))


class Encoder(nn.Module):
    """Waveforms (b, channels, 1 + n * factor) -> moments (b, 2 * z * bins, 1 + n)."""

    def __init__(self, config: LTXAudioConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = CausalConv(config.audio_channels, widths[0])
        self.down = nn.ModuleList(
            DownLevel([widths[max(i - 1, 0)]] + [width] * config.encoder_blocks, halve=i < len(widths) - 1)
            for i, width in enumerate(widths)
        )
        self.mid = Middle(widths[-1])
        self.conv_out = CausalConv(widths[-1], 2 * config.channels)

    def forward(self, x: Tensor) -> Tensor:
        mel = log_mel(resample(x, self.config.sample_rate, self.config.rate), self.config.mel)
        return self.moments(mel.transpose(2, 3).to(self.conv_in.conv.weight.dtype))

    def moments(self, mel: Tensor) -> Tensor:
        """Moments of log-mel spectrograms (b, channels, 1 + 4n, bins)."""
        h = self.conv_in(mel)
        for level in self.down:
            h = level(h)
        h = self.conv_out(F.silu(norm(self.mid(h))))
        return h.transpose(2, 3).flatten(1, 2)


class Decoder(nn.Module):
    """Raw latents (b, z * bins, 1 + n) -> waveforms (b, channels, 1 + n * factor)."""

    def __init__(self, config: LTXAudioConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.conv_in = CausalConv(config.channels, widths[-1])
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList(
            UpLevel([widths[min(i + 1, len(widths) - 1)]] + [width] * (config.encoder_blocks + 1), double=i > 0)
            for i, width in enumerate(widths)
        )
        self.conv_out = CausalConv(widths[0], config.audio_channels)
        self.vocoder = None if config.vocoder is None else vocoder_of(config.vocoder, config.extension)

    def forward(self, z: Tensor) -> Tensor:
        mel = self.spectrogram(z)
        wave = griffin_lim(mel, self.config.mel) if self.vocoder is None else self.vocoder(mel.flatten(1, 2))
        return wave[..., : 1 + (z.shape[2] - 1) * FACTOR * self.config.samples]

    def spectrogram(self, z: Tensor) -> Tensor:
        """Log-mel spectrograms (b, channels, bins, 1 + 4n)."""
        h = z.unflatten(1, (self.config.channels, -1)).transpose(2, 3)
        h = self.mid(self.conv_in(h))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(norm(h))).transpose(2, 3)


def vocoder_of(config: VocoderConfig, extension: ExtensionConfig | None) -> nn.Module:
    """A vocoder, with a bandwidth extension if there is one."""
    return Vocoder(config) if extension is None else ExtendedVocoder(config, extension)


class Spectrogram(nn.Module):
    """A log-mel spectrogram whose windowed Fourier transform and filters are in the file.

    It is causal: a frame ends with the last sample of its hop.
    """

    mel_basis: Tensor

    def __init__(self, config: ExtensionConfig) -> None:
        super().__init__()
        self.stft_fn = FourierBases(config.window)
        self.register_buffer("mel_basis", torch.zeros(config.bins, config.window // 2 + 1))
        self.window, self.hop = config.window, config.hop

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x.flatten(0, 1).unsqueeze(1), (max(0, self.window - self.hop), 0))
        real, imaginary = F.conv1d(padded, self.stft_fn.forward_basis, stride=self.hop).chunk(2, dim=1)
        magnitude = (real.square() + imaginary.square()).sqrt()
        mel = F.conv1d(magnitude, self.mel_basis.unsqueeze(2)).clamp(min=1e-5).log()
        return mel.unflatten(0, (-1, x.shape[1]))


class FourierBases(nn.Module):
    """The kernels of a Fourier transform, and those of its inverse, which is not used."""

    forward_basis: Tensor
    inverse_basis: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        for name in ("forward_basis", "inverse_basis"):
            self.register_buffer(name, torch.zeros(2 * (window // 2 + 1), 1, window))


class ExtendedVocoder(nn.Module):
    """A vocoder, and a second one that takes the spectrogram of its result and adds high frequencies to it."""

    def __init__(self, config: VocoderConfig, extension: ExtensionConfig) -> None:
        super().__init__()
        self.vocoder = Vocoder(config)
        self.bwe_generator = Vocoder(extension.vocoder)
        self.mel_stft = Spectrogram(extension)
        self.hop, self.ratio = extension.hop, extension.ratio

    def forward(self, mel: Tensor) -> Tensor:
        wave = self.vocoder(mel)
        samples = wave.shape[2]
        whole = F.pad(wave, (0, -samples % self.hop))
        high = self.bwe_generator(self.mel_stft(whole).flatten(1, 2))
        return (high + interpolated(whole, self.ratio)).clamp(-1, 1)[..., : samples * self.ratio]


def interpolated(x: Tensor, ratio: int) -> Tensor:
    """Waveforms (b, c, t) -> (b, c, t * ratio), by a Hann-windowed sinc function; ends are repeated."""
    kernel = torch.from_numpy(interpolation_kernel(ratio)).to(x.device, x.dtype).expand(x.shape[1], 1, -1)
    pad = (kernel.shape[2] - 1) // (2 * ratio)
    repeated = F.pad(x, (pad, pad), mode="replicate")
    dense = F.conv_transpose1d(repeated, kernel, stride=ratio, groups=x.shape[1])
    return dense[..., 2 * pad * ratio : 2 * pad * ratio + x.shape[2] * ratio]


@lru_cache(maxsize=16)
def interpolation_kernel(ratio: int) -> NDArray[np.float32]:
    """The kernel (k,) of `interpolated`."""
    width = int(np.ceil(SKIP_ZEROS / SKIP_ROLLOFF))
    times = (np.arange(2 * width * ratio + 1) / ratio - width) * SKIP_ROLLOFF
    hann = np.cos(np.clip(times, -SKIP_ZEROS, SKIP_ZEROS) * np.pi / SKIP_ZEROS / 2) ** 2
    return (np.sinc(times) * hann * SKIP_ROLLOFF).astype(np.float32)


def build(config: LTXAudioConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
