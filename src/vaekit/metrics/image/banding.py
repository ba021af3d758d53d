"""Banding: levels that the reconstruction no longer uses, so that smooth gradients show steps.

Three signs of it are measured. Without noise, levels of the reconstruction are empty. Noise fills them; but the mean of
the reconstruction over all pixels of one level of the original still follows a staircase, however strong the noise. A
decoder whose errors are larger than the steps hides the staircase as well; its histogram is still a comb, unless the
noise is wider than a quarter of a step.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.color import LUMA, REC_709
from vaekit.metrics.image.levels import to_levels
from vaekit.shapes import Images, PerItem

HOLLOW = 0.1
"""A level is hollow if its pixel count is below this fraction of the mean count of its neighborhood."""
REACH = 40
"""Levels of the neighborhood on each side."""
LUMAS = (LUMA, REC_709, (1 / 3, 1 / 3, 1 / 3))
"""Rec. 601, Rec. 709 and the mean: a codec may have quantized the luma alone, which leaves no gaps in red, green and
blue."""
SCARCE = 0.05
"""A neighborhood with less than this fraction of the mean count of all levels is empty."""
GAP = 33
"""The largest number of unused levels between two used ones that counts as banding: 3 bits leave 31."""
ENDS = 0.001
"""The fraction of the pixels at either end of the range whose levels are left out."""
LEAST = 12
"""The least number of used levels for which a loss is measured."""
PERIODS = (2.5, 34.0)
"""The steps between levels, shortest and longest, for which a staircase is searched: 6 bits have 4, 3 bits 32."""
RESOLUTION = 1 / 600
"""The resolution of the search in cycles per level."""
PARTS = 3
"""The number of parts of the range of levels, most of which must show the staircase: a jump of the tone curve, as
clipping leaves, shows in one."""
DEPENDENCE = 4.0
"""The number of pixels per independent one: errors of neighboring pixels are correlated."""
CURVE_ERROR = 0.4
"""The standard deviation in levels of a level's mean around a straight line if there were no noise: rounding."""
COUNT_ERROR = 0.2
"""The standard deviation of a level's count relative to those around it if there were no comb."""
SPIKE = 4.0
"""The largest relative count: a flat background is one level with many pixels."""
TEETH = (4.5, 18.0)
"""The distances between teeth for which a comb is searched: more contrast leaves gaps at smaller ones, and histograms
have waves of 20 levels and more themselves."""
TOOTHED = 0.5
"""The least amplitude of a comb: 2 without noise, 0.58 with noise of a quarter of the distance between teeth."""
CERTAIN = 3.0
"""The multiple of its standard error that is subtracted from an amplitude."""
STEEP = 0.5
"""The least depth of a staircase: 1 for flat steps, 0 for a straight line."""


@dataclass(frozen=True)
class Banding:
    """The quantization of an image."""

    lost: float
    """The share of used levels that are lost, in %, in the channel where it is largest."""
    step: float
    """The mean distance between used levels in that channel."""


def banding(x: Images, y: Images) -> PerItem:
    """The share of levels lost, in %: 87.5 if 8 bits became 5. Images (b, 3, h, w) in [-1, 1].

    The maximum over red, green, blue and three lumas of two shares:

    - of the levels used in x, those that are hollow in y. A level is hollow if its pixel count is below a tenth of the
      mean count of the 81 levels around it;
    - 1 - 1/q, if the means of y over the pixels of each level of x follow a staircase with steps of q levels
      (`staircase`), or the histogram of y is a comb with teeth every q levels (`comb`). Noise affects neither.

    >>> x = torch.linspace(-1, 1, 256).repeat(64, 1).expand(1, 3, 64, 256)
    >>> banding(x, (x * 15.5).round() / 15.5).item() > 80
    True
    """
    return torch.tensor([levels_lost(a, b).lost for a, b in zip(to_levels(x), to_levels(y), strict=True)])


def levels_lost(x: Tensor, y: Tensor, usable: Tensor | None = None) -> Banding:
    """The same for planes (3, h, w) in levels, with the step between levels; x is y without banding.

    Args:
        x: a prediction of y; not rounded.
        y: in levels.
        usable: (h, w), bool; other pixels are left out.
    """
    weights = torch.tensor([*torch.eye(3).tolist(), *LUMAS])
    best = Banding(0.0, 1.0)
    flat = [planes.flatten(1) if usable is None else planes[:, usable] for planes in (x, y)]
    for place, weight in enumerate(weights):
        before, after = ((planes[place] if place < 3 else weight @ planes) for planes in flat)
        counts = _histogram(before), _histogram(after)
        step = max(staircase(before, after), comb(*counts))
        best = max(best, _lost(*counts), Banding(100 * (1 - 1 / step), step), key=lambda each: each.lost)
    return best


def staircase(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """The step q of the staircase from x to y, values of the same pixels in levels; 1 if there is none.

    With m(p) the mean of y where x is about p, the differences d(p) = m(p) - p of a staircase are a sawtooth: at the
    frequency 1/q, and at its multiples k/q, it has the amplitude q / (pi k). So the depth

        depth(f) = pi f |amplitude of d at f|

    is 1 at 1/q and its multiples, whatever q is. The amplitude is that of the best fit to d of a parabola (other
    changes of tone) and a wave, minus three standard errors. The lowest frequency with a depth of `STEEP` counts.

    >>> x = torch.linspace(20, 235, 50_000)
    >>> noise = torch.randn(50_000, generator=torch.Generator().manual_seed(0))
    >>> round(staircase(x, 8 * (x / 8).round() + 2 * noise), 1)
    8.0
    >>> staircase(x, x + 2 * noise)
    1.0
    """
    frequency = _frequencies(PERIODS)
    return _lowest(math.pi * frequency * _typical_amplitude(*_level_means(x, y), frequency), STEEP, frequency)


def comb(x: Int[Tensor, "256"], y: Int[Tensor, "256"]) -> float:
    """The distance q between the teeth of the histogram y, compared with the histogram x; 1 if it is no comb.

    A comb with distance q consists of waves of the frequencies k/q. With noise of s levels they have the amplitude
    2 exp(-2 (pi s k / q)^2), relative to the mean of the 81 levels around. What the histogram of x has of a frequency
    is subtracted; the lowest frequency with an amplitude of `TOOTHED` counts.

    >>> x = torch.full((256,), 1000)
    >>> y = x * (1 + torch.cos(torch.arange(256) * 2 * torch.pi / 8))
    >>> round(comb(x, y.int()), 1), comb(x, x)
    (8.0, 1.0)
    """
    frequency = _frequencies(TEETH)
    waves = _typical_amplitude(*_relative_counts(y), frequency)
    if not (waves >= TOOTHED).any():
        return 1.0
    return _lowest(waves - _typical_amplitude(*_relative_counts(x), frequency).clamp(min=0), TOOTHED, frequency)


Levels = Float[Tensor, " levels"]
Frequencies = Float[Tensor, " frequencies"]


def _frequencies(periods: tuple[float, float]) -> Frequencies:
    """The frequencies of the search, in cycles per level."""
    return torch.arange(1 / periods[1], 1 / periods[0], RESOLUTION, dtype=torch.float64)


def _lowest(size: Frequencies, least: float, frequency: Frequencies) -> float:
    """The period of the peak of lowest frequency that reaches the least size; 1 if none does."""
    reached = (size >= least).nonzero().flatten()
    if not len(reached):
        return 1.0
    best = int(reached[0])
    while best + 1 < len(size) and size[best + 1] >= size[best]:
        best += 1
    return 1 / frequency[best].item()


def _typical_amplitude(level: Levels, values: Levels, precision: Levels, frequency: Frequencies) -> Frequencies:
    """The amplitude of each frequency in most parts of the range; 0 for too few levels."""
    if len(level) < PARTS * LEAST:
        return torch.zeros_like(frequency)
    each = torch.arange(len(level)).tensor_split(PARTS)
    amplitudes = [_amplitude(level[part], values[part], precision[part], frequency) for part in each]
    return torch.stack(amplitudes).median(dim=0).values


def _level_means(x: Tensor, y: Tensor) -> tuple[Levels, Levels, Levels]:
    """For each level of x: the level, the mean of y - x, and its precision (1 / variance).

    Clipped pixels and rare levels are left out.
    """
    place = torch.where((y > 0) & (y < 255), x.round(), -1).clamp(-1, 256).to(torch.int32) + 1
    difference = y - x
    count = torch.bincount(place, minlength=258)[1:-1].double()
    total, squares = (
        torch.bincount(place, values, minlength=258)[1:-1].double() for values in (difference, difference.square())
    )
    below = count.cumsum(0)
    kept = (count >= LEAST) & (below > ENDS * count.sum()) & (below - count < (1 - ENDS) * count.sum())
    mean = total[kept] / count[kept]
    variance = (squares[kept] / count[kept] - mean.square()).clamp(min=0)
    precision = 1 / (DEPENDENCE * variance / count[kept] + CURVE_ERROR**2)
    return torch.arange(256.0).double()[kept], mean, precision


def _relative_counts(count: Int[Tensor, "256"]) -> tuple[Levels, Levels, Levels]:
    """For each level inside the range: the level, its count relative to those around, and the precision of that."""
    nearby = _nearby(count).double()
    kept = _inside(count) & (nearby >= LEAST)
    relative = (count[kept] / nearby[kept]).clamp(max=SPIKE)
    return torch.arange(256.0).double()[kept], relative, 1 / (DEPENDENCE / nearby[kept] + COUNT_ERROR**2)


def _amplitude(level: Levels, values: Levels, precision: Levels, frequency: Frequencies) -> Frequencies:
    """The amplitude that each frequency certainly has in values of levels, fitted together with a parabola."""
    position = ((level - level.mean()) / 32).expand(len(frequency), -1)
    angle = 2 * math.pi * frequency[:, None] * level
    terms = torch.stack([torch.ones_like(angle), position, position.square(), angle.cos(), angle.sin()], dim=1)
    weighted = terms * precision
    covariance = torch.linalg.inv(weighted @ terms.transpose(1, 2) + 1e-3 * torch.eye(5, dtype=torch.float64))
    fitted = covariance @ (weighted @ values)[..., None]
    error = (covariance[:, 3, 3] + covariance[:, 4, 4]).clamp(min=0).sqrt()
    return fitted[:, 3:, 0].norm(dim=1) - CERTAIN * error


def _histogram(values: Tensor) -> Int[Tensor, "256"]:
    return torch.bincount(values.round().clamp(0, 255).to(torch.int32).flatten(), minlength=256)


def _lost(before: Int[Tensor, "256"], after: Int[Tensor, "256"]) -> Banding:
    hollow, scarce = _hollow(before)
    hollow_after, scarce_after = _hollow(after)
    # A neighborhood that is empty as a whole was clipped or shifted, which is not banding.
    used = ~(hollow | scarce | scarce_after | _long_runs(hollow_after))
    used &= _inside(after)
    used[[0, 255]] = False
    if int(used.sum()) < LEAST:
        return Banding(0.0, 1.0)
    kept = 1 - int((hollow_after & used).sum()) / int(used.sum())
    return Banding(100 * (1 - kept), 1 / max(kept, 1 / 64))


def _inside(count: Int[Tensor, "256"]) -> Tensor:
    """Which levels are neither at the lower nor at the upper end of the range in use."""
    least = ENDS * count.sum()
    return (count.cumsum(0) > least) & (count.flip(0).cumsum(0).flip(0) > least)


def _long_runs(hollow: Tensor) -> Tensor:
    """Which levels lie in a gap too long for banding, as a discontinuous tone curve leaves."""
    kept = -F.max_pool1d(-F.pad(hollow[None].float(), (0, GAP)), GAP + 1, stride=1)[0]
    return F.max_pool1d(F.pad(kept[None], (GAP, 0)), GAP + 1, stride=1)[0] > 0


def _hollow(count: Int[Tensor, "256"]) -> tuple[Tensor, Tensor]:
    """Which levels are almost unused although their neighbors are used, and which lie in an empty neighborhood."""
    values, nearby = _capped(count), _nearby(count)
    return values < HOLLOW * nearby, nearby < SCARCE * values.mean()


def _nearby(count: Int[Tensor, "256"]) -> Float[Tensor, "256"]:
    """The mean count of the levels around each level."""
    padded = F.pad(_capped(count)[None, None], (REACH, REACH), mode="reflect")
    return F.avg_pool1d(padded, 2 * REACH + 1, stride=1)[0, 0]


def _capped(count: Int[Tensor, "256"]) -> Float[Tensor, "256"]:
    """The counts without spikes: a single one must not make its neighbors hollow."""
    values = count.float()
    return values.clamp(max=32 * values.mean().item())
