"""Sounds made by code, for the checks of VAEs of waveforms."""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from vaekit.geometry import Geometry

SAMPLES = 2**15
"""Of each sound; more if it would be less than `POSITIONS` latent positions."""
POSITIONS = 16
HARMONICS = 12
PERIODS = (24, 480)
"""The range of the periods of tones, in samples: 2 kHz to 100 Hz at 48 kHz."""
PEAK = 0.7


def sound_length(geometry: Geometry) -> int:
    """The number of samples of the sounds: close to `SAMPLES`, and a multiple of the factor.

    Raises:
        BadItem: the VAE takes no waveforms.
    """
    geometry.require_axes(1, "sounds")
    factor = geometry.factors[0]
    return factor * max(POSITIONS, geometry.least_positions, math.ceil(SAMPLES / factor))


def built_in_sounds(count: int, channels: int, samples: int, generator: Generator) -> Float[Tensor, "n c t"]:
    """Tones with harmonics and noise, which swell and fade, in [-1, 1]; channels have other levels of each."""
    times = torch.arange(samples, dtype=torch.float64)
    sounds = []
    for _ in range(count):
        low, high = (math.log(period) for period in PERIODS)
        period = math.exp(low + (high - low) * torch.rand((), generator=generator).item())
        phases = 2 * math.pi * torch.rand(HARMONICS, 1, generator=generator, dtype=torch.float64)
        orders = torch.arange(1, HARMONICS + 1)[:, None]
        audible = (orders * 2 < period).double()  # below half of the sample rate
        tone = (audible * torch.sin(2 * math.pi * orders * times / period + phases) / orders).sum(dim=0)
        noise = torch.randn(samples, generator=generator, dtype=torch.float64)
        swell = 0.5 - 0.5 * torch.cos(2 * math.pi * times * torch.randint(1, 6, (), generator=generator) / samples)
        levels = torch.rand(channels, 2, generator=generator, dtype=torch.float64)
        mixed = swell * (levels[:, :1] * tone + 0.2 * levels[:, 1:] * noise)
        sounds.append(PEAK * mixed / mixed.abs().max().clamp_min(1e-9))
    return torch.stack(sounds).float()


def extreme_sounds(channels: int, samples: int, generator: Generator) -> Float[Tensor, "2 c t"]:
    """A square wave and noise at full scale: they cause larger activations than recordings do."""
    square = torch.where(torch.arange(samples) // PERIODS[1] % 2 == 0, 1.0, -1.0).expand(channels, -1)
    noise = torch.randint(0, 2, (channels, samples), generator=generator) * 2.0 - 1
    return torch.stack([square, noise])
