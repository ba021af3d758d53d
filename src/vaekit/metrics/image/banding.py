"""Banding: levels that the reconstruction no longer uses, so that smooth gradients show steps."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
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


@dataclass(frozen=True)
class Banding:
    """The quantization of an image."""

    lost: float
    """The share of used levels that are lost, in %, in the channel where it is largest."""
    step: float
    """The mean distance between used levels in that channel."""


def banding(x: Images, y: Images) -> PerItem:
    """The share of levels lost, in %: 87.5 if 8 bits became 5. Images (b, 3, h, w) in [-1, 1].

    The share of the levels used in x that are hollow in y. A level is hollow if its pixel count is below a tenth of the
    mean count of the 81 levels around it. The maximum over red, green, blue and three lumas.

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
        lost = _lost(_histogram(before), _histogram(after))
        best = max(best, lost, key=lambda each: each.lost)
    return best


def _histogram(values: Tensor) -> Int[Tensor, "256"]:
    return torch.bincount(values.round().clamp(0, 255).to(torch.int32).flatten(), minlength=256)


def _lost(before: Int[Tensor, "256"], after: Int[Tensor, "256"]) -> Banding:
    hollow, scarce = _hollow(before)
    hollow_after, scarce_after = _hollow(after)
    # A neighborhood that is empty as a whole was clipped or shifted, which is not banding.
    used = ~(hollow | scarce | scarce_after | _long_runs(hollow_after))
    inside = (after.cumsum(0) > ENDS * after.sum()) & (after.flip(0).cumsum(0).flip(0) > ENDS * after.sum())
    used &= inside
    used[[0, 255]] = False
    if int(used.sum()) < LEAST:
        return Banding(0.0, 1.0)
    kept = 1 - int((hollow_after & used).sum()) / int(used.sum())
    return Banding(100 * (1 - kept), 1 / max(kept, 1 / 64))


def _long_runs(hollow: Tensor) -> Tensor:
    """Which levels lie in a gap too long for banding, as a discontinuous tone curve leaves."""
    kept = -F.max_pool1d(-F.pad(hollow[None].float(), (0, GAP)), GAP + 1, stride=1)[0]
    return F.max_pool1d(F.pad(kept[None], (GAP, 0)), GAP + 1, stride=1)[0] > 0


def _hollow(count: Int[Tensor, "256"]) -> tuple[Tensor, Tensor]:
    """Which levels are almost unused although their neighbors are used, and which lie in an empty neighborhood."""
    values = count.float()
    values = values.clamp(max=32 * values.mean().item())  # a single spike must not make its neighbors hollow
    nearby = F.avg_pool1d(F.pad(values[None, None], (REACH, REACH), mode="reflect"), 2 * REACH + 1, stride=1)[0, 0]
    return values < HOLLOW * nearby, nearby < SCARCE * values.mean()
