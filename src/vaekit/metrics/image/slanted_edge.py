"""Sharpness of a slanted edge: the spatial frequency response of ISO 12233, and where it falls to one half.

An edge a few degrees off the vertical is sampled at many fractions of a pixel. Sorted by distance from the edge, the
pixels give one finely sampled profile; the Fourier transform of its derivative is the MTF. Sources:
ISO 12233:2017, annex D; Burns 2000, "Slanted-edge MTF for digital camera and scanner analysis".
"""

import math

import torch
from torch import Tensor

from vaekit.metrics.image.color import Planes
from vaekit.shapes import PerItem

FINER = 4
"""Bins of the profile per pixel."""
FRACTIONS = 0.5


def mtf50(edge: Planes) -> PerItem:
    """The frequency at which the contrast of one near-vertical edge in planes (b, h, w) falls to one half: (b,).

    In cycles per pixel; higher is sharper; an ideal edge sampled by square pixels has 0.61, one blurred with a Gaussian
    of sigma s pixels about 0.187 / s. NaN if there is no edge: no contrast between left and right, or an angle above
    45 degrees. The values are not linearized: what counts is the ratio to the same edge in the original. For a
    near-horizontal edge pass the transpose.

    >>> rows, columns = torch.arange(60.0)[:, None] + 0.5, torch.arange(60.0) + 0.5
    >>> edge = torch.erf((columns - 30 - (rows - 30) / 11) / 2 / 2**0.5)  # blurred with sigma 2
    >>> mtf50(edge[None])
    tensor([0.0940])
    """
    return torch.stack([_mtf50(plane.double()) for plane in edge]).float()


def mtf(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies in cycles per pixel, and the contrast at each, of one near-vertical edge (h, w), double.

    Raises:
        ValueError: there is no such edge.
    """
    profile = edge_profile(plane)
    spread = (profile[2:] - profile[:-2]) / 2
    # The window is centered on the steepest place, since noise far from it would count as much as the edge. Unlike the
    # standard's it is flat in its middle: that one overestimates the sharpness of soft edges.
    middle = int(spread.abs().argmax())
    reach = min(middle, len(spread) - 1 - middle)
    if reach < 2 * FINER:
        raise ValueError("no edge in the middle")
    spread = spread[middle - reach : middle + reach + 1]
    away = torch.linspace(-1, 1, len(spread), dtype=spread.dtype).abs()
    spread = spread * (0.5 + 0.5 * torch.cos(math.pi * (2 * away - 1).clamp(min=0)))
    padded = max(512, len(spread))
    response = torch.fft.rfft(spread, n=padded).abs()
    frequency = torch.fft.rfftfreq(padded, d=1 / FINER, dtype=spread.dtype)
    # The central difference is itself a filter (ISO 12233, D.7), whose response is divided out down to 0.1.
    own = torch.sinc(2 * frequency / FINER).clamp(min=0.1)
    return frequency, response / response[0] / own


def edge_profile(plane: Tensor) -> Tensor:
    """The values of a near-vertical edge by distance from it, in steps of 1/4 pixel, rising or falling.

    Raises:
        ValueError: there is no such edge.
    """
    height, width = plane.shape
    slope, start = _edge_line(plane)
    rows = torch.arange(height, dtype=plane.dtype)[:, None]
    columns = torch.arange(width, dtype=plane.dtype)
    # Distance across the edge, not along the row.
    distance = (columns - (start + slope * rows)) * math.cos(math.atan(slope))
    places = torch.floor(distance * FINER).long()
    first, last = int(places[:, 0].max()), int(places[:, -1].min())
    if last - first < 4 * FINER:
        raise ValueError("too narrow")
    inside = (places >= first) & (places <= last)
    index = (places[inside] - first).flatten()
    total = torch.zeros(last - first + 1, dtype=plane.dtype).index_add_(0, index, plane[inside].flatten())
    count = torch.zeros_like(total).index_add_(0, index, torch.ones_like(index, dtype=plane.dtype))
    if (count == 0).any():
        raise ValueError("not slanted: some distances have no pixel")
    return total / count


def _edge_line(plane: Tensor) -> tuple[float, float]:
    """Slope (columns for each row) and the column in row 0 of the line through each row's center of gradient, fitted
    twice, the second time within a window around the first line."""
    height, width = plane.shape
    if height < 8 or width < 8:
        raise ValueError("too small")
    steps = (plane[:, 1:] - plane[:, :-1]).abs()
    columns = torch.arange(width - 1, dtype=plane.dtype) + 0.5
    rows = torch.arange(height, dtype=plane.dtype)
    window = torch.hamming_window(width - 1, periodic=False, dtype=plane.dtype).expand(height, -1)
    slope, start = 0.0, 0.0
    for _ in range(2):
        weights = steps * window
        total = weights.sum(dim=1)
        if (total <= 1e-6).any():
            raise ValueError("no contrast")
        centers = (weights * columns).sum(dim=1) / total
        middle = rows.mean()
        slope = float(((rows - middle) * (centers - centers.mean())).sum() / (rows - middle).square().sum())
        start = float(centers.mean()) - slope * float(middle)
        reach = max(8.0, width / 8)
        window = (1 - ((columns - (start + slope * rows[:, None])) / reach).square()).clamp(min=0)
    if abs(slope) > 1:
        raise ValueError("steeper than 45 degrees")
    return slope, start


def _mtf50(plane: Tensor) -> Tensor:
    try:
        frequency, contrast = mtf(plane)
    except ValueError:
        return torch.tensor(math.nan, dtype=torch.float64)
    below = (contrast < FRACTIONS).nonzero()
    if not len(below) or below[0] == 0:
        return torch.tensor(math.nan, dtype=torch.float64)
    after = int(below[0])
    high, low = contrast[after - 1], contrast[after]
    share = (high - FRACTIONS) / (high - low)
    return frequency[after - 1] + share * (frequency[after] - frequency[after - 1])
