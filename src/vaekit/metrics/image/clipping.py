"""Clipping: levels of the original that the reconstruction maps to one level at an end of its range."""

import math
from dataclasses import dataclass
from itertools import takewhile

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.levels import HIGHEST, LOWEST, LevelCurve, to_levels
from vaekit.shapes import Images

AGREED = 0.6
"""The least share of a level's pixels on the plateau for the level to be part of it."""
MEDIAN_ERROR = 1.2533
"""The standard error of the median of n values of a normal distribution is this multiple of sigma / sqrt(n)."""
UNCERTAIN = 0.5
"""The standard error of a median, in levels, above which it decides nothing."""
INVISIBLE_LOSS = 4
"""Levels nearer to the plateau than this show no visible loss."""


def clipped_gained(x: Images, y: Images) -> Float[Tensor, "b 2"]:
    """The shares of pixels that are clipped in y and were not in x, in %: shadows, highlights. Images in [-1, 1].

        gained = 100 mean_hw  any_c (y_c at the end)  and not  any_c (x_c at the end)

    "At the end" is level 0 or 255 of an 8-bit file.

    >>> x = torch.linspace(-1, 1, 256).expand(1, 3, 1, 256)
    >>> [round(share, 2) for share in clipped_gained(x, (1.1 * x).clamp(-1, 1))[0].tolist()]
    [4.69, 4.69]
    """
    before, after = to_levels(x).round(), to_levels(y).round()
    shadows = (after <= 0).any(dim=1) & ~(before <= 0).any(dim=1)
    highlights = (after >= 255).any(dim=1) & ~(before >= 255).any(dim=1)
    return 100 * torch.stack([mask.float().mean(dim=(1, 2)) for mask in (shadows, highlights)], dim=1)


@dataclass(frozen=True)
class Plateau:
    """Levels at an end of the range that were mapped to one level."""

    start: int
    """The level of the original nearest to mid-gray that is part of it."""
    level: int
    """The level that they were mapped to."""
    depth: int
    """The number of levels that became one; 0 if there is no plateau."""
    share: float
    """The share of pixels of those levels except `level` itself, in %."""


NONE = Plateau(0, 0, 0, 0.0)


def plateau(curve: LevelCurve, highlights: bool) -> Plateau:
    """The plateau at the upper or the lower end of a level curve, if there is one.

    It starts from the outermost level of the original that has enough pixels and goes inwards as long as each level's
    median is constant (to 1, and twice the standard error that noise gives it) and most of its pixels are as near to it
    as noise lets them be: blurred edges scatter a level, clipping does not. Where noise leaves a median uncertain, the
    levels further in decide what the level of the plateau is.
    """
    count, median, agreed = curve.count, curve.median.tolist(), curve.agreed.tolist()
    error = (MEDIAN_ERROR * curve.noise / count.clamp(min=1).sqrt()).tolist()
    least = max(6, round(2e-5 * int(count.sum())))
    levels = torch.arange(LOWEST, HIGHEST + 1)
    kept = (count >= least) & (levels >= (LOWEST if highlights else 0)) & (levels <= (255 if highlights else HIGHEST))
    places = kept.nonzero().flatten().tolist()
    if highlights:
        places.reverse()
    certain = next((i for i, place in enumerate(places) if error[place] <= UNCERTAIN), len(places))
    if certain == len(places):
        return NONE
    level = median[places[certain]]

    def belongs(place: int) -> bool:
        return agreed[place] >= AGREED and abs(median[place] - level) <= 1 + 2 * error[place]

    crushed = list(takewhile(belongs, places[certain:]))
    if not crushed:
        return NONE
    outside = list(takewhile(belongs, places[:certain][::-1]))
    pixels = int(count[outside].sum())
    off = sum(int(count[place]) * (median[place] - level) for place in outside)
    if abs(off) <= pixels + 2 * MEDIAN_ERROR * curve.noise * math.sqrt(pixels):  # their mean, too, is on the plateau
        crushed = [*outside[::-1], *crushed]
    first, last = crushed[0] + LOWEST, crushed[-1] + LOWEST
    inside = [place for place in crushed if abs(place + LOWEST - level) >= INVISIBLE_LOSS]
    share = 100 * int(count[inside].sum()) / int(count.sum()) if inside else 0.0
    return Plateau(last, round(level), abs(first - last), share)
