"""The click detector."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.metrics.audio.clicks import clicks

RATE = 16_000


def melody(seconds: float = 3.0, seed: int = 0) -> Tensor:
    """Notes with harmonics, vibrato and soft attacks, and bursts of noise like drums: (1, t)."""
    generator = torch.Generator().manual_seed(seed)
    count = round(seconds * RATE)
    times, x = torch.arange(count) / RATE, torch.zeros(count)
    for note in range(int(4 * seconds)):
        start = note * RATE // 4
        t = times[: count - start]
        pitch = 110 * 2 ** (int(torch.randint(24, (), generator=generator)) / 12)
        phase = 2 * math.pi * pitch * t + 0.3 * torch.sin(2 * math.pi * 5 * t)
        voice = torch.stack([torch.sin(k * phase) / k for k in range(1, 8)]).sum(dim=0)
        x[start:] += 0.1 * (1 - torch.exp(-t / 0.005)) * torch.exp(-t / 0.4) * voice
        drum = torch.randn(count - start, generator=generator) * torch.exp(-t / 0.05) * (1 - torch.exp(-t / 0.0005))
        x[start:] += 0.2 * drum * (note % 2)
    return x[None]


def speech(seconds: float = 3.0) -> Tensor:
    """Pulses of a voice through two resonances, and noise between: (1, t)."""
    count = round(seconds * RATE)
    pulses = torch.zeros(count)
    pulses[torch.arange(0, count, RATE // 120)] = 1
    times = torch.arange(RATE // 20) / RATE
    decay = (1 - torch.exp(-times / 0.001)) * torch.exp(-times * 2 * math.pi * 60)
    resonance = sum(torch.sin(2 * math.pi * frequency * times) * decay for frequency in (500.0, 1500.0))
    voiced = torch.nn.functional.conv1d(pulses[None, None], torch.as_tensor(resonance).flip(0)[None, None], padding=799)
    gate = (torch.sin(2 * math.pi * 2 * torch.arange(count) / RATE) > 0).float()
    noise = torch.randn(count, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.avg_pool1d(gate[None, None], 161, 1, 80)[0, 0]
    return (0.2 * voiced[0, 0, :count] * smooth + 0.02 * noise)[None]


@pytest.mark.parametrize(
    "sound", [melody(), melody(seed=1), speech(), torch.zeros(1, 5000), torch.full((1, 9000), 0.3)]
)
def test_music_voices_silence_and_dc_have_none(sound: Tensor) -> None:
    assert clicks(sound, RATE) == ()


@pytest.mark.parametrize("place", [10_900, 18_500, 43_001])
@pytest.mark.parametrize("sound", [melody(), speech()])
def test_planted_steps_are_named(sound: Tensor, place: int) -> None:
    broken = sound.clone()
    broken[:, place:] += 0.6
    assert [click.sample for click in clicks(broken, RATE)] == [place]


def test_a_seam_in_one_channel_of_a_tone() -> None:
    tone = torch.sin(torch.arange(9000) / 7)
    seam = torch.cat([tone[:5000], tone[5010:], tone[:10]])
    (first, *_) = clicks(torch.stack([tone, seam]), RATE)
    assert (first.channel, first.sample) == (1, 5000)


@pytest.mark.parametrize("samples", [1, 3, 30])
def test_short_waveforms(samples: int) -> None:
    assert clicks(torch.ones(1, samples), RATE) == ()
