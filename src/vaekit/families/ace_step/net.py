"""The autoencoder of ACE-Step 1: a deep compression autoencoder of log-mel spectrograms, and a vocoder.

Its tensors are those of diffusers' AutoencoderDC with two channels, for stereo; spectrograms (b, 2, bins, frames) take
the place of images, with logarithms from -11 to 3 in [-1, 1]. The vocoder, ADaMoSHiFiGAN (fish-audio), is a ConvNeXt
network (Liu et al. 2022, arXiv 2201.03545) before a HiFi-GAN, and runs on each channel (Gong et al. 2025, arXiv
2506.00045). Without it, the Griffin-Lim algorithm makes waveforms.

Latents have channels and bins in the files, (z, bins, frames); here they are one sequence (z * bins, frames), channel
c * bins + bin.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.dcae import net as dcae
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.vocoders import Vocoder, VocoderConfig
from vaekit.geometry import Geometry
from vaekit.nets.mel import MelFormat, griffin_lim, log_mel_of_hops

LOWEST, HIGHEST = -11.0, 3.0
"""The logarithms that become -1 and 1."""
NORM_EPSILON = 1e-6
WINDOW, LOW, HIGH = 2048, 40.0, 16000.0
RATE, HOP, BINS = 44100, 512, 128
"""Of the published model: the sample rate in Hz, samples per frame, and bins. Weights do not determine the first."""


@dataclass(frozen=True)
class ACEStepConfig(DCAEConfig):
    """The shape of such an autoencoder; `latent_channels` are those of the files, for each bin, and `image_channels`
    the audio channels."""

    bins: int = BINS
    """Of the spectrograms. Weights do not determine them without a vocoder."""
    vocoder: VocoderConfig | None = None
    backbone_widths: tuple[int, ...] = ()
    """Channels of the stages before the vocoder."""
    backbone_blocks: tuple[int, ...] = ()
    """Blocks of each of them."""

    @property
    def factor(self) -> int:
        """Frames per latent position, and bins per latent bin."""
        return int(2 ** (len(self.encoder_widths) - 1))

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return HOP if self.vocoder is None else self.vocoder.hop

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length."""
        channels, factor = self.latent_channels * self.bins // self.factor, self.factor * self.hop
        return Geometry(self.image_channels, channels, (factor,), least_positions=-(-WINDOW // factor))

    @property
    def mel(self) -> MelFormat:
        """The format of the spectrograms."""
        return MelFormat(RATE, WINDOW, self.hop, self.bins, LOW, HIGH, epsilon=1e-6)


class LayerNorm(nn.Module):
    """A norm over the channels of a sequence (b, c, t)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        last = F.layer_norm(x.transpose(1, 2), self.weight.shape, self.weight, self.bias, NORM_EPSILON)
        return last.transpose(1, 2)


class ConvNeXtBlock(nn.Module):
    """x + gamma * mlp(norm(depthwise convolution of x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.dwconv(x)).transpose(1, 2)
        h = self.gamma * self.pwconv2(F.gelu(self.pwconv1(h)))
        return x + h.transpose(1, 2)


class Backbone(nn.Module):
    """Log-mel spectrograms (b, bins, frames) -> (b, c, frames): stages of ConvNeXt blocks."""

    def __init__(self, bins: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv1d(bins, widths[0], 7, padding=3, padding_mode="replicate"), LayerNorm(widths[0]))
        between = (nn.Sequential(LayerNorm(a), nn.Conv1d(a, b, 1)) for a, b in pairwise(widths))
        self.channel_layers = nn.ModuleList([first, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        self.norm = LayerNorm(widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        for layer, stage in zip(self.channel_layers, self.stages, strict=True):
            x = stage(layer(x))
        return self.norm(x)


class BackboneVocoder(nn.Module):
    """Log-mel spectrograms (b, bins, frames) -> waveforms (b, 1, frames * hop)."""

    def __init__(self, config: VocoderConfig, bins: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone = Backbone(bins, widths, blocks)
        self.head = Vocoder(config)

    def forward(self, mel: Tensor) -> Tensor:
        return self.head(self.backbone(mel))


class Encoder(nn.Module):
    """Waveforms (b, 2, n * factor) -> latents (b, z * bins, n)."""

    def __init__(self, config: ACEStepConfig) -> None:
        super().__init__()
        self.config = config
        self.net = dcae.Encoder(config)

    def forward(self, x: Tensor) -> Tensor:
        mel = log_mel_of_hops(x, self.config.mel)
        scaled = (mel - LOWEST) * (2 / (HIGHEST - LOWEST)) - 1
        dtype = next(self.net.parameters()).dtype
        return self.net(scaled.to(dtype)).flatten(1, 2)


class Decoder(nn.Module):
    """Raw latents (b, z * bins, n) -> waveforms (b, 2, n * factor)."""

    def __init__(self, config: ACEStepConfig) -> None:
        super().__init__()
        self.config = config
        self.net = dcae.Decoder(config)
        self.vocoder = (
            None
            if config.vocoder is None
            else BackboneVocoder(config.vocoder, config.bins, config.backbone_widths, config.backbone_blocks)
        )

    def forward(self, z: Tensor) -> Tensor:
        mel = self.spectrogram(z)
        if self.vocoder is not None:
            return self.vocoder(mel.flatten(0, 1)).unflatten(0, (-1, self.config.image_channels)).flatten(2)
        # Frames are in the middle of their hops, and the algorithm's on the first sample of theirs.
        half = self.config.hop // 2
        return F.pad(griffin_lim(mel, self.config.mel), (half, -half))

    def spectrogram(self, z: Tensor) -> Tensor:
        """Log-mel spectrograms (b, 2, bins, frames)."""
        scaled = self.net(z.unflatten(1, (self.config.latent_channels, -1)))
        return (scaled + 1) * ((HIGHEST - LOWEST) / 2) + LOWEST


def build(config: ACEStepConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
