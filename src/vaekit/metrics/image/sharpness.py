"""The transfer function from an image to its reconstruction, and the equivalent Gaussian blur."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from vaekit.metrics.image.levels import to_levels
from vaekit.shapes import Images, PerItem

BANDS = 32
"""Rings of spatial frequency between 0 and half a cycle per pixel."""
AXIS = 3
"""Frequencies nearer to an axis than this, in steps of the transform, are left out: the discontinuity at the borders
of the image, which the transform treats as periodic, has its power there."""
LOWEST, HIGHEST = 0.04, 0.40
"""The range in cycles per pixel in which a blur is fitted: below it the effect is small, above there is little
power."""
ROUNDING = 1 / 12
"""The variance of rounding to integer levels."""

Spectrum = Complex[Tensor, "h half"]


@dataclass(frozen=True, eq=False)
class Transfer:
    """The transfer function of one image, by rings of spatial frequency."""

    gain: Float[Tensor, " bands"]
    """Re sum conj(X) Y / sum |X|^2: the gain of the original's amplitude, in phase."""
    coherence: Float[Tensor, " bands"]
    """|sum conj(X) Y|^2 / (sum |X|^2 sum |Y|^2): 1 where y is x filtered, 0 where they are unrelated."""
    power: Float[Tensor, " bands"]
    """Mean of |X|^2, in levels squared per frequency: noise of variance s^2 has s^2 everywhere."""
    count: Float[Tensor, " bands"]
    """Frequencies in each ring."""


def blur_sigma(x: Images, y: Images) -> PerItem:
    """The sigma in pixels of the Gaussian blur from x to y; negative if y is sharper. NaN if x has no detail.

    The transfer function H(f) of the mean of the channels is fitted, over f in [0.04, 0.40] cycles per pixel, by

        ln H(f) = ln H0 - 2 pi^2 s f^2,    sigma = sign(s) sqrt(|s|)

    weighted by the frequencies of a ring, H^2 and the coherence. H0 absorbs a change of contrast, and additive errors
    that are uncorrelated with the image (noise, grids, spots) cancel in H. Images (b, 3, h, w) in [-1, 1].

    Accurate to about 10 % for sigmas of 0.6 to 1.5; wider blurs are underestimated (2 as 1.6).

    >>> x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)  # of variance 2/3 each way
    >>> 0.7 < blur_sigma(x, blurred).item() < 1
    True
    """
    sigmas = []
    for before, after in zip(to_levels(x), to_levels(y), strict=True):
        planes = [planes.mean(dim=0) for planes in (before, after)]
        first, second = (torch.fft.rfft2(plane - plane.mean()) for plane in planes)
        sigmas.append(equivalent_sigma(transfer(first, second, planes[0].shape)))
    return torch.tensor(sigmas)


def transfer(x: Spectrum, y: Spectrum, size: tuple[int, ...]) -> Transfer:
    """The transfer function from the transforms (rfft2) of two planes (h, w)."""
    ring, weight = rings(size)
    pixels = size[0] * size[1]
    cross = (x.real * y.real + x.imag * y.imag).mul_(weight)
    sums = [
        torch.bincount(ring.flatten(), (values / pixels).double().flatten(), minlength=BANDS + 1)[:BANDS]
        for values in (cross, x.abs().square() * weight, y.abs().square() * weight, weight * pixels)
    ]
    both, first, second, count = sums
    coherence = both.square() / (first * second).clamp(min=1e-12)
    return Transfer(
        (both / first.clamp(min=1e-9)).float(), coherence.float(), (first / count.clamp(min=1)).float(), count.float()
    )


def equivalent_sigma(transfer: Transfer) -> float:
    """The sigma of `blur_sigma` from a transfer function."""
    frequency = (torch.arange(BANDS) + 0.5) / (2 * BANDS)
    gain, count = transfer.gain.double(), transfer.count.double()
    usable = (frequency >= LOWEST) & (frequency <= HIGHEST) & (gain > 0.02) & (count > 0)
    # Where the original is little more than rounding error, its noise counts as lost detail.
    signal = transfer.power.double() / (transfer.power.double() + 8 * ROUNDING)
    weight = (count * gain.clamp(0, 2).square() * transfer.coherence.double() * signal.square())[usable]
    if int(usable.sum()) < 4 or weight.sum() < 1:
        return math.nan
    squared = frequency[usable].double().square()
    logarithm = gain[usable].log()
    middle = (squared * weight).sum() / weight.sum()
    spread = (weight * (squared - middle).square()).sum()
    slope = ((weight * (squared - middle) * logarithm).sum() / spread).item()
    variance = -slope / (2 * math.pi**2)
    return math.copysign(math.sqrt(abs(variance)), variance)


def boost(transfer: Transfer) -> float:
    """By how many % the amplitude of fine detail is amplified against coarse detail (negative: attenuated); NaN without
    detail.

    The gain over the two upper octaves (0.125 to 0.5 cycles per pixel) against that of the rings below 0.05, each ring
    weighted by its power and coherence. An unsharp mask raises it, however wide; noise does not.
    """
    frequency = (torch.arange(BANDS) + 0.5) / (2 * BANDS)
    weight = transfer.power.double() * transfer.count.double() * transfer.coherence.double()
    means = []
    for rings in (frequency >= 0.125, frequency < 0.05):
        total = weight[rings].sum()
        means.append(
            (weight[rings] * transfer.gain.double()[rings]).sum() / total if total > 0 else torch.tensor(math.nan)
        )
    return 100 * (means[0] / means[1] - 1).item()


def filtered(transfer: Transfer, x: Spectrum, size: tuple[int, ...]) -> Spectrum:
    """The transform of a plane after the gain of each ring."""
    ring, _ = _all_rings(*size)
    # In rings without power the gain would be noise.
    trusted = (transfer.count > 8) & (transfer.power > 4 * ROUNDING)
    gain = torch.where(trusted, transfer.gain.clamp(-0.5, 4), 1.0)
    return x * gain[ring]


def rings(size: tuple[int, ...]) -> tuple[Int[Tensor, "h half"], Float[Tensor, "h half"]]:
    """The ring of each frequency of rfft2 (BANDS: none), and its multiplicity in the full transform (0, 1 or 2)."""
    return _rings(*size)


@lru_cache(maxsize=2)
def _rings(height: int, width: int) -> tuple[Tensor, Tensor]:
    ring, _ = _all_rings(height, width)
    down, across = _steps(height, width)
    clear = (down.abs() > AXIS)[:, None] & (across > AXIS)[None]
    weight = torch.where(clear, 2.0, 0.0)
    if width % 2 == 0:
        weight[:, -1] /= 2
    return torch.where(clear, ring, BANDS), weight


@lru_cache(maxsize=2)
def _all_rings(height: int, width: int) -> tuple[Tensor, Tensor]:
    down, across = _steps(height, width)
    frequency = ((down / height).square()[:, None] + (across / width).square()[None]).sqrt()
    ring = (frequency * 2 * BANDS).long()
    return ring.clamp(max=BANDS - 1), frequency


def _steps(height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.fft.fftfreq(height, 1 / height), torch.arange(width // 2 + 1).float()
