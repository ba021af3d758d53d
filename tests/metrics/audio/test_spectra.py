"""Magnitudes of spectra, and their distance."""

import math

import pytest
import torch
from small_audio import tone

from vaekit.metrics.audio.spectra import magnitudes, mr_stft


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_magnitudes_are_amplitudes(size: int) -> None:
    frequency = 8000 * (size // 8) / size
    found = magnitudes(tone(4096, frequency=frequency)[None], size)
    assert found.shape == (1, 1, size // 2 + 1, 1 + 4096 // (size // 4))
    assert math.isclose(found[0, 0, size // 8, 8].item(), 0.5, rel_tol=1e-3)


def test_the_distance_of_louder_waveforms_is_their_ratio() -> None:
    x = torch.randn(2, 1, 4096, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mr_stft(x, x), torch.zeros(2))
    assert torch.allclose(mr_stft(x, 2 * x), torch.full((2,), 1 + math.log(2)), atol=1e-3)


@pytest.mark.parametrize("samples", [1, 7, 100])
def test_short_and_silent_waveforms_have_distances_and_gradients(samples: int) -> None:
    result = torch.zeros(1, 2, samples, requires_grad=True)
    mr_stft(torch.zeros(1, 2, samples), result).sum().backward()
    assert result.grad is not None and result.grad.isfinite().all()
