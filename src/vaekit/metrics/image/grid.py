"""Grid: a pattern that repeats every so many pixels, as a decoder's upsampling leaves it."""

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
"""Periods looked for where the factor is not known; each contains the patterns of 4 and 2 as well."""
NEAR, FAR = 1, 5
"""The frequencies around a harmonic from which its background is read: more than NEAR and up to FAR steps away."""
STANDS_OUT = 12.0
"""A harmonic counts when its power is so many times the mean of its background. Of noise, one in 160,000 is."""
ENOUGH = 0.8
"""The shortest period that has this part of the power of the longest is the period."""


@dataclass(frozen=True)
class Grid:
    """A repeating pattern."""

    amplitude: float
    """Of the cosine that has its power: sqrt(2) times its root mean square; in levels of 255."""
    period: int
    """Pixels, the shortest that explains it; 0 where there is none."""


def grid(x: Images, y: Images, factor: int = 8) -> PerItem:
    """The amplitude of what repeats every `factor` pixels in y - x, in levels of 255. Images (b, 3, h, w) in [-1, 1].

        amplitude = sqrt(2 sum_k |R(k)|^2) / (h w),   k over the harmonics (i h / factor, j w / factor) other than 0

    with R the transform of the mean of the channels of y - x, cut to a multiple of the factor. A harmonic counts when
    it stands out of the frequencies around it, from which its background is taken away. Images of less than four
    periods a side give NaN.

    Raises:
        ValueError: a factor below 2.

    >>> x = torch.zeros(1, 3, 64, 64)
    >>> wave = torch.cos(torch.arange(64) * 2 * torch.pi / 8) * 2 / 127.5
    >>> round(grid(x, x + wave).item(), 2)
    2.0
    """
    if factor < 2:
        raise ValueError(f"a grid repeats every 2 pixels or more, not every {factor}")
    found = []
    for residual in to_levels(y) - to_levels(x):
        height, width = (side // factor * factor for side in residual.shape[1:])
        if min(height, width) < 4 * factor:
            found.append(math.nan)
            continue
        plane = residual.mean(dim=0)[:height, :width]
        spectrum = torch.fft.rfft2(plane - plane.mean())
        found.append(find_grid(spectrum, (height, width), (factor,)).amplitude)
    return torch.tensor(found)


def flat_grid(images: Images, factor: int) -> float:
    """Root mean square of what repeats every `factor` pixels, mean over images, in levels of 255.

        g(u, v) = mean over p, q of y(p f + u, q f + v) - mean of y,    0 <= u, v < f

    All frequencies that are multiples of 1/f of a pixel, and no other, contribute. A ramp does too, so that only flat
    images should be given.

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
        periods: those looked for, the longest last. Only those that divide both sides, four times at least.
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
    around = power[(rows % height)[:, None, :, None], across[None, :, None, :]]
    aside = steps.abs() > NEAR
    # The row and the column are asked alone as well: edges of the image, and straight lines, have their power there.
    places = (around[:, :, aside[:, None] | aside[None]], around[:, :, FAR, aside], around[:, :, aside, FAR])
    # The median of squares of noise is ln 2 of their mean, and edges nearby do not move it.
    background = torch.stack([values.median(dim=-1).values for values in places]).amax(dim=0) / math.log(2)
    here = around[:, :, FAR, FAR]
    excess = torch.where(here > STANDS_OUT * background + 1e-6 * height * width, here - background, 0)
    excess[0, 0] = 0
    middle = columns[:, FAR]
    return (excess * torch.where((middle == 0) | (2 * middle == width), 1, 2)).sum().item()
