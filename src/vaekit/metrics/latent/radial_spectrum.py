"""The radial power spectrum of latents and images.

Latents of many VAEs have much more power at high frequencies than images, in particular with many channels, and
diffusion models learn them less easily (Skorokhodov et al. 2025, "Improving the diffusability of autoencoders", arXiv
2502.14831; Ning et al. 2026, "Spectrum matching", arXiv 2603.14645). They compare spectra of the discrete cosine
transform over blocks; here it is that of whole planes, averaged over rings.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 16
"""Rings from 0 to the Nyquist frequency, 1/2 cycle per position; corners beyond it are left out."""
NYQUIST = 0.5
LEAST = 4
"""The minimum number of positions along both axes."""
Power = Float[Tensor, "b c k"]
Spectrum = Float[Tensor, "k"]


@lru_cache(maxsize=8)
def cosine_basis(length: int) -> Float[Tensor, "n n"]:
    """The orthonormal discrete cosine transform (DCT-II) as a matrix in float64, frequencies along rows.

    C[k, i] = sqrt((2 - [k = 0]) / n) cos( pi (2 i + 1) k / 2 n )
    """
    k = torch.arange(length, dtype=torch.float64)
    basis = torch.cos(math.pi / (2 * length) * torch.outer(k, 2 * k + 1)) * math.sqrt(2 / length)
    basis[0] /= math.sqrt(2)
    return basis


@lru_cache(maxsize=8)
def rings(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The ring of each coefficient of a plane, (h w), `BINS` for those that are left out (the mean and the corners);
    and the number of coefficients in each ring, (BINS,)."""
    rows, columns = (torch.arange(side, dtype=torch.float64) / (2 * side) for side in (height, width))
    radius = (rows[:, None].square() + columns.square()).sqrt().flatten()
    ring = (radius / NYQUIST * BINS).long().clamp(max=BINS)
    ring[0] = BINS
    return ring, ring.bincount(minlength=BINS + 1)[:BINS]


def ring_power(planes: Float[Tensor, "b c h w"]) -> tuple[Power, Spectrum]:
    """The power of each channel in each ring, summed over its coefficients, (b, c, BINS); and the number of
    coefficients, (BINS,). White noise of variance s^2 has a mean power of s^2 in every ring.

    Coefficient (u, v) of an h x w plane has the radial frequency sqrt((u / 2h)^2 + (v / 2w)^2) cycles per position.
    """
    height, width = planes.shape[2:]
    exact = planes.detach().cpu().double()
    coefficients = cosine_basis(height) @ exact @ cosine_basis(width).T
    ring, counts = rings(height, width)
    power = coefficients.square().flatten(2)
    sums = torch.zeros(*power.shape[:2], BINS + 1, dtype=torch.float64)
    sums.index_add_(2, ring, power)
    return sums[..., :BINS], counts.double()


def centers() -> Spectrum:
    """The frequency in the middle of each ring, in cycles per position."""
    return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (NYQUIST / BINS)


def slope(spectrum: Spectrum) -> float:
    """The exponent of a spectrum: the slope of the line through the logarithms of power and frequency, by least
    squares over rings. 0 for white noise, about -2 for photographs (Field 1987); rings that are NaN or have no power
    are left out. NaN for fewer than two rings.
    """
    kept = spectrum > 0
    if kept.sum() < 2:
        return math.nan
    x, y = centers()[kept].log(), spectrum[kept].double().log()
    x = x - x.mean()
    return ((x * (y - y.mean())).sum() / x.square().sum()).item()


def high_share(power: Spectrum) -> float:
    """The share of the power above half of the Nyquist frequency, of power summed over the coefficients of each ring.
    White noise has 0.75."""
    return (power[BINS // 2 :].sum() / power.sum()).item()
