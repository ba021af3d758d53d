"""SI-SDR."""

import math

import torch

from vaekit.metrics.audio.si_sdr import si_sdr


def test_scale_and_mean_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(3, 2, 5000, generator=generator) for _ in range(2))
    y = x + 0.1 * noise
    assert torch.allclose(si_sdr(x, y), torch.full((3,), 20.0), atol=0.5)
    assert torch.allclose(si_sdr(x, y), si_sdr(x, -3 * y + 0.2), atol=1e-3)


def test_equal_and_silent_waveforms() -> None:
    x = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(0))
    assert si_sdr(x, x).item() > 100 and math.isnan(si_sdr(0 * x, 0 * x).item())
