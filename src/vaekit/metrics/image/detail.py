"""Detail kept in each octave of spatial frequency: power ratio and coherence."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.color import LEVELS_PER_UNIT, Planes
from vaekit.metrics.image.spectra import spectra

OCTAVES = 5
"""Octaves from 1/4 .. 1/2 cycles per pixel, the finest, down to 1/64 .. 1/32."""
ROUNDING = (1 / LEVELS_PER_UNIT) ** 2 / 12
"""The variance of rounding to 8 bits, for values in [-1, 1]: weaker detail does not exist in 8-bit files."""

PerOctave = Float[Tensor, "b octaves"]
"""From fine to coarse; NaN where the image is too small for an octave."""


@dataclass(frozen=True, eq=False)
class Detail:
    """Power ratio and coherence in each octave."""

    power_ratio: PerOctave
    """Power of the reconstruction over that of the original: 1 is the same, 0 none, above 1 more than the original
    has."""
    coherence: PerOctave
    """From 0 to 1: the part of the reconstruction's power that a linear filter of the original explains."""

    @property
    def kept(self) -> PerOctave:
        """sqrt(ratio * coherence): the gain of the best linear filter, the amplitude of the original's detail that is
        kept. Invented detail does not count."""
        return (self.power_ratio * self.coherence).sqrt()


def octave_edges(octaves: int = OCTAVES) -> list[tuple[float, float]]:
    """The lower and upper frequency of each octave in cycles per pixel, from fine to coarse.

    >>> octave_edges(2)
    [(0.25, 0.5), (0.125, 0.25)]
    """
    return [(2.0 ** -(k + 2), 2.0 ** -(k + 1)) for k in range(octaves)]


def detail(x: Planes, y: Planes, octaves: int = OCTAVES) -> Detail:
    """The detail of luma planes y (b, h, w) against that of x, both in [-1, 1], in each octave of radial frequency.

        ratio_k = sum_{f in k} S_yy / sum_{f in k} S_xx
        coherence_k = | sum_{f in k} S_xy |^2 / (sum S_xx sum S_yy)

    with the Hann-windowed spectra S of `spectra`. Both spectra and their common part count the rounding noise of 8 bits
    more (`ROUNDING`), so that flat images keep all of the detail that they do not have. Frequencies beyond Nyquist's
    (in the corners) are left out.

    >>> from vaekit.metrics.image.color import luma
    >>> x = luma(torch.rand(1, 3, 128, 128))
    >>> detail(x, 0.5 * x).kept.round(decimals=2)
    tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000]])
    """
    pair = spectra(x, y)
    ratios, coherences = [], []
    for low, high in octave_edges(octaves):
        inside = (pair.radius >= low) & (pair.radius < high)
        weight = pair.multiplicity[inside]
        common = ROUNDING * weight.sum()
        xx, yy, real, imaginary = (
            (spectrum[:, inside] * weight).sum(dim=1) for spectrum in (pair.x, pair.y, pair.cross, pair.cross_imaginary)
        )
        # An octave without frequencies gives 0 / 0.
        xx, yy, real = xx + common, yy + common, real + common
        ratios.append(yy / xx)
        coherences.append((real.square() + imaginary.square()) / (xx * yy))
    return Detail(torch.stack(ratios, dim=1), torch.stack(coherences, dim=1).clamp(max=1))
