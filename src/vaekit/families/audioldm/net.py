"""The autoencoder of AudioLDM, AudioLDM 2 and MusicLDM: LDM's, of log-mel spectrograms with one channel, and a vocoder.

Its tensors are those of a KL autoencoder of grayscale images (diffusers' AutoencoderKL); the vocoder is transformers'
SpeechT5HifiGan (Liu et al. 2023, arXiv 2301.12503). Spectrograms (b, 1, frames, bins) take the place of images. Without
a vocoder, the Griffin-Lim algorithm makes waveforms.

Latents have channels and bins in the files, (z, frames, bins); here they are one sequence (z * bins, frames), channel
c * bins + bin.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.families.vocoders import Vocoder, VocoderConfig
from vaekit.geometry import Geometry
from vaekit.nets.mel import MelFormat, griffin_lim, log_mel

HIGH_RATE = 32000
"""From this sample rate in Hz on, the window has 2048 samples instead of 1024."""


@dataclass(frozen=True)
class AudioLDMConfig(KLConfig):
    """The shape of such an autoencoder; `latent_channels` are those of the files, for each bin."""

    bins: int = 64
    """Of the spectrograms. Weights do not determine them without a vocoder."""
    rate: int = 16000
    """The sample rate in Hz. Weights do not determine it."""
    hop: int = 160
    """Samples per frame; with a vocoder, its factor."""
    vocoder: VocoderConfig | None = None

    @property
    def factor(self) -> int:
        """Frames per latent position, and bins per latent bin."""
        return 2 ** (len(self.encoder_widths) - 1)

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length, of one channel."""
        channels = self.latent_channels * self.bins // self.factor
        least = -(-self.mel.window // (self.factor * self.hop)) if self.mel.window >= self.factor * self.hop else 1
        return Geometry(self.image_channels, channels, (self.factor * self.hop,), least_positions=least)

    @property
    def mel(self) -> MelFormat:
        """The format of the spectrograms."""
        window = 2048 if self.rate >= HIGH_RATE else 1024
        return MelFormat(self.rate, window, self.hop, self.bins, 0.0, self.rate / 2)


class Encoder(nn.Module):
    """Waveforms (b, 1, n * factor) -> moments (b, 2 * z * bins, n)."""

    def __init__(self, config: AudioLDMConfig) -> None:
        super().__init__()
        self.config = config
        self.net = kl.Encoder(config)

    def forward(self, x: Tensor) -> Tensor:
        # The frame that is centered on the end of the waveform is left out: each has a hop of its own.
        mel = log_mel(x, self.config.mel)[..., : x.shape[2] // self.config.hop]
        return self.moments(mel.transpose(2, 3).to(self.net.conv_in.weight.dtype))

    def moments(self, mel: Tensor) -> Tensor:
        """Moments of log-mel spectrograms (b, 1, frames, bins)."""
        return self.net(mel).transpose(2, 3).flatten(1, 2)


class Decoder(nn.Module):
    """Raw latents (b, z * bins, n) -> waveforms (b, 1, n * factor)."""

    def __init__(self, config: AudioLDMConfig) -> None:
        super().__init__()
        self.config = config
        self.net = kl.Decoder(config)
        self.vocoder = None if config.vocoder is None else Vocoder(config.vocoder)

    def forward(self, z: Tensor) -> Tensor:
        mel = self.spectrogram(z)
        return griffin_lim(mel, self.config.mel) if self.vocoder is None else self.vocoder(mel.flatten(1, 2))

    def spectrogram(self, z: Tensor) -> Tensor:
        """Log-mel spectrograms (b, 1, bins, frames)."""
        return self.net(z.unflatten(1, (self.config.latent_channels, -1)).transpose(2, 3)).transpose(2, 3)


def build(config: AudioLDMConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
