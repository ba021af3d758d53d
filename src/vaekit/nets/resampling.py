"""Convert the sample rate of waveforms by a fixed ratio, as a convolution inside a network."""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

ZEROS = 6
"""Zero crossings of the sinc function on each side of a kernel."""
ROLLOFF = 0.99
"""The cutoff frequency, relative to half of the lower sample rate."""


def resample(x: Tensor, source: int, target: int) -> Tensor:
    """Waveforms (b, c, t) at a sample rate of `source` Hz -> (b, c, ceil(t * target / source)) at `target` Hz, in
    float32: interpolation by a Hann-windowed sinc function, with zeros beyond the ends."""
    if source == target:
        return x.float()
    common = gcd(source, target)
    step, phases = source // common, target // common
    kernels = torch.from_numpy(sinc_kernels(step, phases)).to(x.device)
    width = (kernels.shape[2] - step) // 2
    padded = F.pad(x.float().flatten(0, 1).unsqueeze(1), (width, width + step))
    interleaved = F.conv1d(padded, kernels, stride=step).transpose(1, 2).flatten(1)
    return interleaved[:, : ceil(x.shape[2] * phases / step)].unflatten(0, x.shape[:2])


@lru_cache(maxsize=16)
def sinc_kernels(step: int, phases: int) -> NDArray[np.float32]:
    """Kernels (phases, 1, 2 * width + step): each interpolates one of `phases` values per `step` samples."""
    cutoff = min(step, phases) * ROLLOFF
    width = ceil(ZEROS * step / cutoff)
    offsets = np.arange(-width, width + step) / step - np.arange(phases)[:, None] / phases
    times = np.clip(offsets * cutoff, -ZEROS, ZEROS)
    hann = np.cos(times * np.pi / ZEROS / 2) ** 2
    return (np.sinc(times) * hann * cutoff / step)[:, None].astype(np.float32)
