"""Sample rate conversion inside networks."""

from math import ceil

import pytest
import torch

from vaekit.nets.resampling import resample

RATES = [(24000, 16000), (48000, 16000), (16000, 48000), (44100, 48000)]


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("seconds", [0.1, 0.05001])
def test_tones_keep_their_pitch_and_phase(source: int, target: int, seconds: float) -> None:
    samples = int(source * seconds)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(samples, dtype=torch.float64) / source).float()
    result = resample(tone.expand(2, 2, -1), source, target)
    assert result.shape == (2, 2, ceil(samples * target / source))
    wanted = torch.sin(2 * torch.pi * 1000 * torch.arange(result.shape[2], dtype=torch.float64) / target).float()
    inside = slice(64, -64)
    torch.testing.assert_close(result[..., inside], wanted.expand_as(result)[..., inside], atol=5e-3, rtol=0)


def test_frequencies_above_the_lower_rate_are_removed() -> None:
    tone = torch.sin(2 * torch.pi * 11000 * torch.arange(2400) / 24000)[None, None]
    assert resample(tone, 24000, 16000)[..., 64:-64].abs().max() < 0.02


def test_one_rate_changes_nothing() -> None:
    x = torch.rand(1, 2, 10)
    assert torch.equal(resample(x, 16000, 16000), x)
