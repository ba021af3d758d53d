"""Power spectra of planes in windowed tiles (Welch 1967, IEEE Trans. Audio Electroacoustics 15(2), in two dimensions).

Half-overlapping Hann windows weigh all places of a plane alike except for half a tile at its borders, and averaging
over several tiles makes the coherence of two spectra meaningful.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.color import Planes

TILE = 128
"""The side of a tile in pixels."""
AT_ONCE = 2**21
"""Values that are transformed at once."""

Spectrum = Float[Tensor, "b u v"]
"""Power for each vertical (u, both signs) and horizontal (v, from 0) frequency: half a plane."""


@dataclass(frozen=True, eq=False)
class Spectra:
    """The spectra of pairs of planes. Power is in squared units of the planes for each frequency and tile: white noise
    of variance s^2 has power s^2 everywhere."""

    x: Spectrum
    y: Spectrum
    cross: Spectrum
    """The real part of x times the conjugate of y."""
    cross_imaginary: Spectrum
    radius: Float[Tensor, "u v"]
    """Radial frequency in cycles per pixel: 1/2 is the Nyquist frequency, the corners reach 0.707."""
    multiplicity: Float[Tensor, "u v"]
    """The number of frequencies of the full transform that each represents: 2, or 1 in self-conjugate columns."""


def spectra(x: Planes, y: Planes, tile: int = TILE) -> Spectra:
    """The averaged spectra of two planes of each image, (b, h, w) each; means of tiles are subtracted.

    Tiles are squares of `tile` pixels, or of the shorter side if that is less, with a stride of half a tile; the last
    ones are aligned with the right and the lower border.
    """
    height, width = x.shape[1:]
    side = min(tile, height, width)
    tops, lefts = (_starts(length, side) for length in (height, width))
    window = torch.hann_window(side + 2, periodic=False, device=x.device)[1:-1]
    window = window[:, None] * window
    scale = 1 / window.square().sum()
    sums = [torch.zeros(x.shape[0], side, side // 2 + 1, device=x.device) for _ in range(4)]
    places = [(top, left) for top in tops for left in lefts]
    step = max(1, AT_ONCE // (x.shape[0] * side * side))
    for some in (places[start : start + step] for start in range(0, len(places), step)):
        a, b = (_transformed(plane, some, window) for plane in (x, y))
        products = (a.real, a.imag, b.real, b.imag)
        for total, part in zip(sums, _powers(*products), strict=True):
            total += part
    frequency = torch.fft.fftfreq(side, device=x.device)[:, None], torch.fft.rfftfreq(side, device=x.device)
    multiplicity = torch.full((side, side // 2 + 1), 2.0, device=x.device)
    multiplicity[:, 0] = 1
    if side % 2 == 0:
        multiplicity[:, -1] = 1
    mean = scale / len(places)
    radius = (frequency[0].square() + frequency[1].square()).sqrt()
    of_x, of_y, cross, cross_imaginary = (total * mean for total in sums)
    return Spectra(of_x, of_y, cross, cross_imaginary, radius, multiplicity)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles start along one side: about every half tile, the last one at the end."""
    steps = -(-(length - side) // max(1, side // 2))
    return [round(i * (length - side) / steps) for i in range(steps + 1)] if steps else [0]


def _transformed(plane: Planes, places: list[tuple[int, int]], window: Tensor) -> Tensor:
    side = len(window)
    tiles = torch.stack([plane[:, top : top + side, left : left + side] for top, left in places])
    return torch.fft.rfft2((tiles.float() - tiles.mean(dim=(2, 3), keepdim=True)) * window)


def _powers(x_real: Tensor, x_imag: Tensor, y_real: Tensor, y_imag: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Power of x, of y, and the two parts of their cross power, each summed over tiles."""
    return (
        (x_real.square() + x_imag.square()).sum(dim=0),
        (y_real.square() + y_imag.square()).sum(dim=0),
        (x_real * y_real + x_imag * y_imag).sum(dim=0),
        (x_imag * y_real - x_real * y_imag).sum(dim=0),
    )
