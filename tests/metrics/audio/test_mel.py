"""Log-mel spectrograms."""

import math

import pytest
import torch
from small_audio import tone

from vaekit.metrics.audio.mel import log_mel, log_mel_l1, mel_filters, window_size


@pytest.mark.parametrize(("rate", "bands"), [(8_000, 64), (8_000, 200), (44_100, 80), (100, 64)])
def test_filters_are_means(rate: int, bands: int) -> None:
    filters = mel_filters(rate, window_size(rate), bands)
    assert filters.shape == (bands, window_size(rate) // 2 + 1)
    assert torch.allclose(filters.sum(dim=1), torch.ones(bands)) and (filters >= 0).all()


def test_the_highest_band_is_that_of_the_tone() -> None:
    centers = [log_mel(tone(8000, frequency=each)[None], 8000)[0, 0].mean(dim=1).argmax() for each in (300, 1000, 3000)]
    assert centers == sorted(centers) and centers[0] < centers[2]


def test_the_distance_of_louder_waveforms_is_their_ratio() -> None:
    x = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    assert math.isclose(log_mel_l1(x, x / 2, 8000).item(), math.log(2), rel_tol=1e-2)
