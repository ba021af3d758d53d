"""Integrated loudness after ITU-R BS.1770-4, in LUFS (dB relative to full scale, K-weighted)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaekit.shapes import PerItem, Waveforms

BLOCK, STEP = 0.4, 0.1
"""Of gated blocks, in seconds."""
ABSOLUTE, RELATIVE = -70.0, -10.0
"""The gates, in LUFS and in LU."""
OFFSET = -0.691
"""The loudness of a sine of 997 Hz is its level."""
SURROUND = 1.41
"""The weight of the surround channels in 5.1, whose third and fourth channels are center and LFE (weight 0)."""
TAIL = 0.5
"""Seconds in which the impulse responses of both filters decay."""
SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
"""Center frequency in Hz, gain in dB and quality of the first filter, the effect of a head."""
HIGH_PASS = (38.13547087602444, 0.5003270373238773)
"""Frequency and quality of the second filter."""
SHELF_EXPONENT = 0.4996667741545416
"""Of the gain of the shelf at its center."""


def loudness(x: Waveforms, sample_rate: int) -> PerItem:
    """Integrated loudness with gating (ITU-R BS.1770-4, annex 1), in LUFS: (b,), float32; -inf for silence.

    Waveforms shorter than a block of 400 ms are one block. Channels weigh 1; of five or six channels, surrounds weigh
    1.41 and the LFE of six weighs 0.

    >>> sine = torch.sin(2 * torch.pi * 997 * torch.arange(48_000 * 2, dtype=torch.float64) / 48_000).float()
    >>> loudness(sine.view(1, 1, -1), 48_000)
    tensor([-3.0103])

    Args:
        x: waveforms.
        sample_rate: in Hz.
    """
    power = k_weighted(x.double(), sample_rate).square()
    size = min(x.shape[2], round(BLOCK * sample_rate))
    step = max(1, round(STEP * sample_rate))
    blocks = power.unfold(2, size, step).mean(dim=3)  # (b, c, blocks)
    energy = (blocks * channel_weights(x.shape[1])[:, None]).sum(dim=1)
    return torch.stack([gated(each) for each in energy]).float()


def gated(energy: Tensor) -> Tensor:
    """The loudness of blocks (n,) of which those below the two gates do not count."""
    levels = OFFSET + 10 * torch.log10(energy)
    loud = energy[levels > ABSOLUTE]
    if not len(loud):
        return energy.new_tensor(-math.inf)
    gate = OFFSET + 10 * torch.log10(loud.mean()) + RELATIVE
    kept = energy[(levels > ABSOLUTE) & (levels > gate)]
    return OFFSET + 10 * torch.log10(kept.mean())


def channel_weights(channels: int) -> Tensor:
    """The weights of channels, (channels,)."""
    surround = {5: (1.0, 1.0, 1.0, SURROUND, SURROUND), 6: (1.0, 1.0, 1.0, 0.0, SURROUND, SURROUND)}
    return torch.tensor(surround.get(channels, (1.0,) * channels), dtype=torch.float64)


def k_weighted(x: Tensor, sample_rate: int) -> Tensor:
    """Both filters, applied in the frequency domain to the waveform and a tail of zeros."""
    count = x.shape[2]
    size = 2 ** math.ceil(math.log2(count + TAIL * sample_rate + 1))
    turns = torch.exp(-2j * math.pi * torch.arange(size // 2 + 1, dtype=torch.float64) / size)
    response = torch.ones_like(turns)
    for numerator, denominator in (shelf(sample_rate), high_pass(sample_rate)):
        response = response * polynomial(numerator, turns) / polynomial(denominator, turns)
    return torch.fft.irfft(torch.fft.rfft(x, size) * response, size)[..., :count]


def polynomial(coefficients: Sequence[float], z: Tensor) -> Tensor:
    """c0 + c1 z + c2 z^2."""
    return coefficients[0] + coefficients[1] * z + coefficients[2] * z * z


def shelf(sample_rate: int) -> tuple[Sequence[float], Sequence[float]]:
    """The first filter at any sample rate: numerator and denominator."""
    frequency, gain, quality = SHELF
    k, high = math.tan(math.pi * warped(frequency, sample_rate)), 10 ** (gain / 20)
    middle = high**SHELF_EXPONENT
    a0 = 1 + k / quality + k * k
    numerator = (high + middle * k / quality + k * k, 2 * (k * k - high), high - middle * k / quality + k * k)
    denominator = (a0, 2 * (k * k - 1), 1 - k / quality + k * k)
    return numerator, denominator


def high_pass(sample_rate: int) -> tuple[Sequence[float], Sequence[float]]:
    """The second filter at any sample rate."""
    frequency, quality = HIGH_PASS
    k = math.tan(math.pi * warped(frequency, sample_rate))
    a0 = 1 + k / quality + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / a0, (1 - k / quality + k * k) / a0)


def warped(frequency: float, sample_rate: int) -> float:
    """A frequency in cycles per sample, below a half."""
    return min(frequency / sample_rate, 0.49)
