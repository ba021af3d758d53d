"""Magnitudes of short-time Fourier transforms, and their distance at several resolutions."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import PerItem, Waveforms

OVERLAP = 4
"""Windows that cover a sample."""
FLOOR = 1e-5
"""Added to magnitudes before their logarithm: -100 dB below a sine of amplitude 1, under the noise of 16 bits."""
TINY = 1e-12
"""Added to squared magnitudes, whose root has no gradient at 0."""
RESOLUTIONS = (2048, 1024, 512, 256, 128)
"""Window lengths in samples."""


@lru_cache(maxsize=64)
def hann(size: int) -> Tensor:
    """A periodic Hann window whose magnitudes are amplitudes: that of a sine of amplitude 1 is 1."""
    window = torch.hann_window(size, dtype=torch.float64)
    return (2 * window / window.sum()).float()


def magnitudes(x: Waveforms, size: int, hop: int | None = None) -> Float[Tensor, "b c bins frames"]:
    """Magnitudes of the short-time Fourier transform with a Hann window, (b, c, size/2 + 1, 1 + t // hop).

    The signal is continued with zeros, and frames are centered. A sine of amplitude a has the magnitude a.

    Args:
        x: waveforms.
        size: of a window in samples.
        hop: samples between frames; None for a quarter of a window.
    """
    hop = hop or max(1, size // OVERLAP)
    padded = F.pad(x.float(), (size // 2, size // 2)).flatten(0, 1)
    spectrum = torch.stft(padded, size, hop, window=hann(size).to(x.device), center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + TINY).sqrt().unflatten(0, x.shape[:2])


def mr_stft(x: Waveforms, y: Waveforms, resolutions: Sequence[int] = RESOLUTIONS) -> PerItem:
    """The distance of magnitudes at several resolutions (Yamamoto et al. 2020, arXiv 1910.11480, eq. 4 to 6): (b,).

        mean over resolutions of  |X - Y|_F / |X|_F  +  mean |ln(X + e) - ln(Y + e)|

    X are magnitudes of the original, Y those of the reconstruction, e = 1e-5. Lower is better, 0 for equal waveforms.

    >>> x = torch.sin(torch.arange(4096) / 8).view(1, 1, -1)
    >>> mr_stft(x, x).item(), 0.1 < mr_stft(x, 0.9 * x).item() < 0.3
    (0.0, True)

    Args:
        x: originals.
        y: reconstructions.
        resolutions: lengths of windows in samples.
    """
    return torch.stack([stft_distance(x, y, size) for size in resolutions]).mean(dim=0)


def stft_distance(x: Waveforms, y: Waveforms, size: int) -> PerItem:
    """The distance at one resolution; see `mr_stft`."""
    original, result = magnitudes(x, size).flatten(1), magnitudes(y, size).flatten(1)
    convergence = (original - result).norm(dim=1) / original.norm(dim=1).clamp(min=FLOOR)
    return convergence + ((original + FLOOR).log() - (result + FLOOR).log()).abs().mean(dim=1)
