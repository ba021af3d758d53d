"""Log-mel spectrograms, and their distance."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.audio.spectra import FLOOR, magnitudes
from vaekit.shapes import PerItem, Waveforms

WINDOW = 0.064
"""Of a frame, in seconds; rounded to the nearest power of 2 in samples."""
BANDS = 64
HERTZ, PER_DECADE = 700.0, 2595.0
"""Constants of the mel scale."""


def mel(frequency: float) -> float:
    """Hertz to mel: 2595 log10(1 + f / 700) (O'Shaughnessy 1987).

    >>> round(mel(1000.0))
    1000
    """
    return PER_DECADE * math.log10(1 + frequency / HERTZ)


def window_size(sample_rate: int, seconds: float = WINDOW) -> int:
    """The power of 2 nearest to a duration, in samples.

    >>> window_size(8000), window_size(44_100), window_size(100)
    (512, 2048, 16)
    """
    return 2 ** max(4, round(math.log2(seconds * sample_rate)))


@lru_cache(maxsize=64)
def mel_filters(sample_rate: int, size: int, bands: int = BANDS) -> Tensor:
    """Triangular filters (bands, size/2 + 1) from 0 Hz to half the sample rate, equally spaced in mel, each with the
    sum 1. Bands that are narrower than a bin take the nearest bins."""
    edges = HERTZ * (10 ** (torch.linspace(0, mel(sample_rate / 2), bands + 2, dtype=torch.float64) / PER_DECADE) - 1)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64) * sample_rate / size
    low, center, high = (edges[i : i + bands, None] for i in range(3))
    width = sample_rate / size
    rising = (bins - low) / (center - low).clamp(min=width)
    falling = (high - bins) / (high - center).clamp(min=width)
    filters = torch.minimum(rising, falling).clamp(min=0)
    nearest = torch.nn.functional.one_hot((center[:, 0] / width).round().long(), len(bins)).double()
    filters = torch.where(filters.sum(dim=1, keepdim=True) > 0, filters, nearest)
    return (filters / filters.sum(dim=1, keepdim=True)).float()


def log_mel(
    x: Waveforms, sample_rate: int, seconds: float = WINDOW, bands: int = BANDS, hop: int | None = None
) -> Float[Tensor, "b c bands frames"]:
    """The logarithm of mean magnitudes in mel bands, ln(M + 1e-5): (b, c, bands, frames).

    Args:
        x: waveforms.
        sample_rate: in Hz.
        seconds: the duration of a window, which is a power of 2 of samples.
        bands: the number of bands.
        hop: samples between frames; None for a quarter of a window.
    """
    size = window_size(sample_rate, seconds)
    return (mel_filters(sample_rate, size, bands).to(x.device) @ magnitudes(x, size, hop) + FLOOR).log()


def log_mel_l1(x: Waveforms, y: Waveforms, sample_rate: int, seconds: float = WINDOW, bands: int = BANDS) -> PerItem:
    """The mean absolute difference of log-mel spectrograms, in nats of magnitude (1 is 8.7 dB): (b,).

    Lower is better, 0 for equal waveforms.

    >>> x = torch.sin(torch.arange(8000) / 3).view(1, 1, -1)
    >>> log_mel_l1(x, x, 8000)
    tensor([0.])
    """
    return (log_mel(x, sample_rate, seconds, bands) - log_mel(y, sample_rate, seconds, bands)).abs().mean(dim=(1, 2, 3))
