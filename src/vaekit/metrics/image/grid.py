"""Grid: a periodic pattern, as the upsampling of a decoder may leave it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from vaekit.metrics.image.color import LEVELS_PER_UNIT
from vaekit.metrics.image.levels import to_levels
from vaekit.shapes import Images, PerItem

PERIODS = (8, 16, 32)
"""Periods that are tried if the factor is unknown; each contains the patterns of periods 4 and 2 as well."""
NEAR, FAR = 1, 5
"""The background of a harmonic: the frequencies more than NEAR and up to FAR steps away."""
THRESHOLD = 12.0
"""A harmonic counts if its power is at least this multiple of its mean background; in noise one in 160,000 does."""
ENOUGH = 0.8
"""The period is the shortest one with at least this fraction of the largest power."""


@dataclass(frozen=True)
class Grid:
    """A periodic pattern."""

    amplitude: float
    """The amplitude of a cosine of the same power: sqrt(2) times its root mean square; in levels of 255."""
    period: int
    """The shortest period in pixels; 0 if there is no pattern."""


def grid(x: Images, y: Images, factor: int = 8) -> PerItem:
    """The amplitude of the pattern of period `factor` in y - x, in levels of 255. Images (b, 3, h, w) in [-1, 1].

        amplitude = sqrt(2 sum_k |R(k)|^2) / (h w),   k over the harmonics (i h / factor, j w / factor) other than 0

    with R the transform of the mean of the channels of y - x, cropped to a multiple of the factor. A harmonic counts if
    it is well above the neighboring frequencies; their power is subtracted as background. Images of fewer than four
    periods per side give NaN.

    Raises:
        ValueError: the factor is below 2.

    >>> x = torch.zeros(1, 3, 64, 64)
    >>> wave = torch.cos(torch.arange(64) * 2 * torch.pi / 8) * 2 / 127.5
    >>> round(grid(x, x + wave).item(), 2)
    2.0
    """
    if factor < 2:
        raise ValueError(f"the period of a grid is at least 2 pixels, not {factor}")
    amplitudes = []
    for residual in to_levels(y) - to_levels(x):
        height, width = (side // factor * factor for side in residual.shape[1:])
        if min(height, width) < 4 * factor:
            amplitudes.append(math.nan)
            continue
        plane = residual.mean(dim=0)[:height, :width]
        spectrum = torch.fft.rfft2(plane - plane.mean())
        amplitudes.append(find_grid(spectrum, (height, width), (factor,)).amplitude)
    return torch.tensor(amplitudes)


def flat_grid(images: Images, factor: int) -> float:
    """Root mean square of the pattern of period `factor`, mean over images, in levels of 255.

        g(u, v) = mean over p, q of y(p f + u, q f + v) - mean of y,    0 <= u, v < f

    Exactly the frequencies that are multiples of 1/f cycles per pixel contribute. A ramp contributes too, so the images
    should be flat.

    >>> stripes = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(1, 3, 4, 4) / 127.5
    >>> round(flat_grid(stripes, 2), 4)
    1.0
    """
    rows, columns = (side // factor for side in images.shape[2:])
    whole = images[:, :, : rows * factor, : columns * factor].double()
    cells = whole.unflatten(3, (columns, factor)).unflatten(2, (rows, factor)).mean(dim=(2, 4))
    pattern = cells - cells.mean(dim=(2, 3), keepdim=True)
    return (pattern.square().mean(dim=(1, 2, 3)).sqrt().mean() * LEVELS_PER_UNIT).item()


def find_grid(residual: Complex[Tensor, "h half"], size: tuple[int, int], periods: Sequence[int] = PERIODS) -> Grid:
    """The grid in the transform (rfft2) of a residual of this size, in levels.

    Args:
        residual: the transform; its mean does not matter.
        size: rows and columns.
        periods: the candidates, the longest last. Only those count that divide both sides at least four times.
    """
    height, width = size
    fitting = [period for period in periods if height % period == width % period == 0 and min(size) >= 4 * period]
    if not fitting:
        return Grid(0.0, 0)
    power = {period: _power(residual.abs().square(), size, period) for period in fitting}
    most = max(power.values())
    if most == 0:
        return Grid(0.0, 0)
    period = next(period for period in fitting if power[period] >= ENOUGH * most)
    return Grid(math.sqrt(2 * power[period]) / (height * width), period)


def _power(power: Float[Tensor, "h half"], size: tuple[int, int], period: int) -> float:
    """The power of all harmonics of a period, both halves of the transform."""
    height, width = size
    steps = torch.arange(-FAR, FAR + 1)
    rows = (torch.arange(period) * (height // period))[:, None] + steps
    columns = (torch.arange(period // 2 + 1) * (width // period))[:, None] + steps
    across = columns.abs()
    across = torch.where(across >= power.shape[1], width - across, across)
    nearby = power[(rows % height)[:, None, :, None], across[None, :, None, :]]
    aside = steps.abs() > NEAR
    # The row and the column alone are backgrounds as well: image borders and straight lines have their power there.
    places = (nearby[:, :, aside[:, None] | aside[None]], nearby[:, :, FAR, aside], nearby[:, :, aside, FAR])
    # The median of the power of noise is ln 2 of its mean, and robust against edges.
    background = torch.stack([values.median(dim=-1).values for values in places]).amax(dim=0) / math.log(2)
    here = nearby[:, :, FAR, FAR]
    excess = torch.where(here > THRESHOLD * background + 1e-6 * height * width, here - background, 0)
    excess[0, 0] = 0
    middle = columns[:, FAR]
    return (excess * torch.where((middle == 0) | (2 * middle == width), 1, 2)).sum().item()
