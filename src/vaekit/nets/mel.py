"""Log-mel spectrograms of waveforms, and waveforms of log-mel spectrograms without a vocoder.

A spectrogram is computed with convolutions whose kernels are windowed sines and cosines, not with `torch.stft`: each
frame is a function of the samples around it, which the streaming engine can follow in time. Both agree up to rounding.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

LINEAR_UP_TO = 1000.0
"""The frequency in Hz at which the scale changes from linear to logarithmic."""
LINEAR_STEP = 200.0 / 3
"""Hz per mel in the linear part."""
LOG_STEP = math.log(6.4) / 27
"""The logarithm of the ratio of frequencies one mel apart in the logarithmic part."""
ITERATIONS = 32
MOMENTUM = 0.99
"""Of the fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013)."""


@dataclass(frozen=True)
class MelFormat:
    """How a waveform is converted to a log-mel spectrogram: the natural logarithm of magnitudes, summed by triangular
    filters of unit area on the scale of Slaney's Auditory Toolbox (librosa's default)."""

    sample_rate: int
    window: int
    """Samples of the Hann window, which is also the length of the Fourier transform."""
    hop: int
    """Samples from one frame to the next."""
    bins: int
    low: float
    """The lowest frequency of the filters, in Hz."""
    high: float
    floor: float = 1e-5
    """Smaller magnitudes are set to it before the logarithm."""
    epsilon: float = 0.0
    """Added to squared magnitudes of the Fourier transform."""

    @property
    def frequencies(self) -> int:
        """The number of frequencies of the Fourier transform."""
        return self.window // 2 + 1


def log_mel(x: Tensor, mel: MelFormat) -> Tensor:
    """Waveforms (b, c, t) -> log-mel spectrograms (b, c, bins, 1 + t // hop), in float32.

    Frame i is centered on sample i * hop; beyond its ends, the waveform is reflected. It needs more than half a window
    of samples.
    """
    half = mel.window // 2
    padded = F.pad(x.float(), (half, half), mode="reflect")
    return log_mel_of_frames(padded, mel).unflatten(0, (-1, x.shape[1]))


def log_mel_of_hops(x: Tensor, mel: MelFormat) -> Tensor:
    """Waveforms (b, c, t) -> log-mel spectrograms (b, c, bins, t // hop), in float32.

    Frame i is centered on the middle of hop i; beyond its ends, the waveform is reflected.
    """
    outside = mel.window - mel.hop
    padded = F.pad(x.float(), (outside // 2, outside - outside // 2), mode="reflect")
    return log_mel_of_frames(padded, mel).unflatten(0, (-1, x.shape[1]))


def log_mel_of_frames(x: Tensor, mel: MelFormat) -> Tensor:
    """Waveforms (b, c, t) -> log-mel spectrograms (b * c, bins, frames) of all whole windows, without padding."""
    basis = torch.from_numpy(fourier_basis(mel.window)).to(x.device)
    filters = torch.from_numpy(mel_filters(mel)).to(x.device)
    spectrum = F.conv1d(x.flatten(0, 1).unsqueeze(1), basis, stride=mel.hop)
    real, imaginary = spectrum.chunk(2, dim=1)
    magnitude = (real.square() + imaginary.square() + mel.epsilon).sqrt()
    return F.conv1d(magnitude, filters.unsqueeze(2)).clamp(min=mel.floor).log()


def griffin_lim(log_mel: Tensor, mel: MelFormat, iterations: int = ITERATIONS) -> Tensor:
    """Log-mel spectrograms (b, c, bins, frames) -> waveforms (b, c, frames * hop) that have them approximately.

    The magnitudes of frequencies are the least-squares solution of those of the bins; phases are found by the fast
    Griffin-Lim algorithm, starting at those of steady tones, so that the result depends on the spectrogram only.
    """
    inverse = torch.from_numpy(inverse_filters(mel)).to(log_mel.device)
    magnitude = F.conv1d(log_mel.float().exp().flatten(0, 1), inverse.unsqueeze(2)).clamp(min=0)
    magnitude = F.pad(magnitude, (0, 1), mode="replicate")  # n + 1 frames are centered within n hops
    samples = (magnitude.shape[2] - 1) * mel.hop
    window = torch.hann_window(mel.window, device=magnitude.device)
    times = torch.arange(magnitude.shape[2], device=magnitude.device, dtype=torch.float32)
    tones = torch.arange(mel.frequencies, device=magnitude.device, dtype=torch.float32)
    turns = torch.outer(tones * (mel.hop / mel.window), times) % 1
    estimate = torch.polar(magnitude, (2 * math.pi * turns).expand_as(magnitude))
    previous = torch.zeros_like(estimate)
    for _ in range(iterations):
        consistent = torch.stft(
            torch.istft(estimate, mel.window, mel.hop, window=window, length=samples),
            mel.window,
            mel.hop,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        accelerated = consistent + MOMENTUM * (consistent - previous)
        previous = consistent
        estimate = torch.polar(magnitude, accelerated.angle())
    wave = torch.istft(estimate, mel.window, mel.hop, window=window, length=samples)
    return wave.unflatten(0, (-1, log_mel.shape[1])).clamp(-1, 1)


@lru_cache(maxsize=16)
def fourier_basis(window: int) -> NDArray[np.float32]:
    """Kernels (2 * (window // 2 + 1), 1, window) of a windowed Fourier transform: cosines, then negative sines."""
    times, frequencies = np.arange(window), np.arange(window // 2 + 1)
    angles = 2 * np.pi * ((frequencies[:, None] * times) % window) / window
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * times / window)
    return np.concatenate([np.cos(angles) * hann, -np.sin(angles) * hann])[:, None].astype(np.float32)


@lru_cache(maxsize=16)
def mel_filters(mel: MelFormat) -> NDArray[np.float32]:
    """Triangular filters (bins, frequencies) between neighboring points of the mel scale, each with the area 1 Hz."""
    low, high = mels_of(np.array([mel.low, mel.high]))
    points = hertz_of(np.linspace(low, high, mel.bins + 2))
    frequencies = np.linspace(0, mel.sample_rate / 2, mel.frequencies)
    widths = np.diff(points)[:, None]
    slopes = points[:, None] - frequencies
    rising, falling = -slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (points[2:] - points[:-2]))[:, None]).astype(np.float32)


@lru_cache(maxsize=16)
def inverse_filters(mel: MelFormat) -> NDArray[np.float32]:
    """The pseudoinverse (frequencies, bins) of the filters."""
    return np.linalg.pinv(mel_filters(mel).astype(np.float64)).astype(np.float32)


def mels_of(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies on the mel scale."""
    above = LINEAR_UP_TO / LINEAR_STEP + np.log(np.maximum(hertz, LINEAR_UP_TO) / LINEAR_UP_TO) / LOG_STEP
    return np.where(hertz < LINEAR_UP_TO, hertz / LINEAR_STEP, above)


def hertz_of(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `mels_of`."""
    first = LINEAR_UP_TO / LINEAR_STEP
    above = LINEAR_UP_TO * np.exp(LOG_STEP * (np.maximum(mels, first) - first))
    return np.where(mels < first, mels * LINEAR_STEP, above)
