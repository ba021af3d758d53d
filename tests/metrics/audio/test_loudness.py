"""Loudness after ITU-R BS.1770."""

import math

import pytest
import torch

from vaekit.metrics.audio.loudness import loudness
from vaekit.shapes import Waveforms


def sine(rate: int, level: float, seconds: float = 3.0, frequency: float = 997.0, channels: int = 1) -> Waveforms:
    times = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (10 ** (level / 20) * torch.sin(2 * math.pi * frequency * times)).float().expand(1, channels, -1)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000])
def test_a_stereo_sine_has_its_level(rate: int) -> None:
    """EBU Tech 3341, test signals 1 and 2: stereo sines of 1 kHz at -23 and -33 dBFS."""
    for level in (-23.0, -33.0):
        assert abs(loudness(sine(rate, level, channels=2), rate).item() - level) < 0.1


def test_quiet_parts_do_not_count() -> None:
    """EBU Tech 3341, test signal 3: -36, -23 and -36 dBFS are -23 LUFS."""
    parts = [sine(48_000, level, seconds, 1000.0, 2) for level, seconds in ((-36, 2.0), (-23, 12.0), (-36, 2.0))]
    assert abs(loudness(torch.cat(parts, dim=2), 48_000).item() + 23) < 0.1


def test_low_frequencies_weigh_less_and_channels_add() -> None:
    assert loudness(sine(48_000, -20, frequency=30.0), 48_000) < loudness(sine(48_000, -20), 48_000) - 5
    stereo, mono = (loudness(sine(48_000, -20, channels=count), 48_000).item() for count in (2, 1))
    assert abs(stereo - mono - 10 * math.log10(2)) < 0.01


def test_silence_and_short_waveforms() -> None:
    assert loudness(torch.zeros(2, 1, 8000), 8000).tolist() == [-math.inf] * 2
    assert loudness(sine(8000, -6, 0.05), 8000).isfinite().all() and loudness(torch.zeros(1, 1, 1), 8000) == -math.inf
