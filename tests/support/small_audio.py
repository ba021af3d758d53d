"""An untrained VAE of sounds, and sound files, for tests."""

import math
from pathlib import Path

import torch
from torch import Tensor

from vaekit.checkpoints.save import save
from vaekit.domains.audio.schema import AudioSchema
from vaekit.domains.audio.writing import write_wav
from vaekit.families import PARTS, assemble
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.identification.metadata import domain_notes
from vaekit.nets.likelihoods import NormalPart
from vaekit.nets.waveform import WaveformConfig
from vaekit.vae import VAE

RATE, HOP, LATENTS = 8_000, 16, 4


def audio_vae(channels: int = 1) -> VAE:
    """An untrained VAE of sounds."""
    torch.manual_seed(0)
    net = WaveformConfig(channels, LATENTS, (4, 4), (6, 8), (1, 2), 3)
    return assemble(PARTS, PartsConfig(net, GaussianPart(), NormalPart())).eval()


def save_audio_vae(path: Path, channels: int = 1, rate: int = RATE) -> AudioSchema:
    """Write an untrained VAE of sounds; returns their schema."""
    schema = AudioSchema(rate, channels, 1_024)
    save(audio_vae(channels), path, notes=domain_notes("audio", schema.as_plain()))
    return schema


def tone(samples: int, rate: int = RATE, channels: int = 1, frequency: float = 440.0) -> Tensor:
    """A tone (channels, samples), at half of full scale, shifted from channel to channel."""
    times = torch.arange(samples, dtype=torch.float64) / rate
    shifts = torch.arange(channels)[:, None] / 7
    return (0.5 * torch.sin(2 * math.pi * (frequency * times + shifts))).float()


def save_tone(path: Path, samples: int, rate: int = RATE, channels: int = 1, frequency: float = 440.0) -> Path:
    """Write a tone as WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, tone(samples, rate, channels, frequency), rate)
    return path
