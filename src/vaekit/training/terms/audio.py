"""Terms about waveforms (b, channels, t): distances of spectra at several resolutions."""

from collections.abc import Sequence
from functools import partial

import torch

from vaekit.errors import BadRecipe
from vaekit.metrics.audio.mel import BANDS, log_mel_l1
from vaekit.metrics.audio.spectra import RESOLUTIONS, mr_stft
from vaekit.shapes import PerItem
from vaekit.training.objectives import Pass, Term

WINDOWS = (0.064, 0.032, 0.016)
"""The durations of windows of `log_mel`, in seconds."""
WAVEFORM_AXES = 3
"""Batch, channels and time."""


def stft(resolutions: Sequence[int] = RESOLUTIONS) -> Term:
    """The distance of magnitudes at several resolutions (Yamamoto et al. 2020, arXiv 1910.11480); see
    `metrics.audio.spectra.mr_stft`. In fp32 under any autocast.

    Args:
        resolutions: lengths of windows in samples.

    Raises:
        ValueError: there are none, or one is shorter than 8 samples.
    """
    if not resolutions or min(resolutions) < 8:
        raise ValueError("resolutions must be 8 samples or more")
    return Term(partial(spectral_distance, tuple(resolutions)), nats=False)


def spectral_distance(resolutions: Sequence[int], forward: Pass) -> PerItem:
    """The distance of each waveform, (b,)."""
    require_waveforms(forward, "stft")
    with torch.autocast(forward.x.device.type, enabled=False):
        return mr_stft(forward.x.float(), forward.result.float(), resolutions)


def log_mel(sample_rate: int, windows: Sequence[float] = WINDOWS, bands: int = BANDS) -> Term:
    """The mean absolute difference of log-mel spectrograms, the mean over windows of several durations (as in the mel
    loss of DAC, Kumar et al. 2023, arXiv 2306.06546, section 3.4). In fp32 under any autocast.

    Args:
        sample_rate: in Hz; vaekit takes it from the recipe's [data].
        windows: durations in seconds.
        bands: of the longest window; those of shorter ones are fewer in proportion, at least 8.

    Raises:
        ValueError: a value is not positive.
    """
    if sample_rate < 1 or bands < 1 or not windows or min(windows) <= 0:
        raise ValueError("sample_rate, windows and bands must be positive")
    longest = max(windows)
    scales = tuple((seconds, max(8, round(bands * seconds / longest))) for seconds in windows)
    return Term(partial(mel_distance, sample_rate, scales), nats=False)


def mel_distance(sample_rate: int, scales: Sequence[tuple[float, int]], forward: Pass) -> PerItem:
    """The distance of each waveform, (b,)."""
    require_waveforms(forward, "log_mel")
    with torch.autocast(forward.x.device.type, enabled=False):
        x, y = forward.x.float(), forward.result.float()
        return torch.stack([log_mel_l1(x, y, sample_rate, *scale) for scale in scales]).mean(dim=0)


def require_waveforms(forward: Pass, term: str) -> None:
    """Check that items are waveforms.

    Raises:
        BadRecipe: they are not.
    """
    if forward.x.dim() != WAVEFORM_AXES or not forward.x.is_floating_point():
        raise BadRecipe(
            f"The term {term} is about waveforms, and the items have the shape {tuple(forward.x.shape[1:])}.",
            "Expected items of shape (channels, samples).",
            "Leave it out.",
        )
