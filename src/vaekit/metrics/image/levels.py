"""Images in 8-bit levels, and level curves: the level in a reconstruction for each level of the original."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vaekit.metrics.image.color import LEVELS_PER_UNIT

Planes = Float[Tensor, "c h w"]
"""The channels of one image, in levels: 0 black, 255 white."""
Plane = Float[Tensor, "h w"]
"""One channel of one image, in levels."""
Mask = Tensor
"""(h, w), bool."""

LOWEST, HIGHEST = -64, 319
"""The range of levels of a prediction. It exceeds 0..255, since a change of tone may push levels past the ends."""


def to_levels(x: Tensor) -> Tensor:
    """Convert values in [-1, 1] to levels of 255, float32, not rounded."""
    return (x.float() + 1) * LEVELS_PER_UNIT


def nearest_levels(x: Tensor) -> Tensor:
    """Values in [-1, 1] rounded to 8-bit levels: 0 to 255, float32, clamped; NaN stays NaN.

    >>> nearest_levels(torch.tensor([-2.0, 0.0, 1.0]))
    tensor([  0., 128., 255.])
    """
    return to_levels(x.float().clamp(-1, 1)).round()


def as_saved(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Images after saving as 8-bit files: clamped to [-1, 1] and rounded to 256 levels.

    >>> as_saved(torch.tensor([[[[0.0, 2.0]]]]))
    tensor([[[[0.0039, 1.0000]]]])
    """
    return nearest_levels(images) / LEVELS_PER_UNIT - 1


@dataclass(frozen=True, eq=False)
class LevelCurve:
    """The mapping of the levels of one channel."""

    count: Int[Tensor, " levels"]
    """The number of pixels of the original with each level, from LOWEST to HIGHEST."""
    median: Float[Tensor, " levels"]
    """Their median level in the reconstruction."""
    agreed: Float[Tensor, " levels"]
    """The share of them within 1 of the median: 1 where the level alone determines the result."""


def level_curve(x: Plane, y: Plane) -> LevelCurve:
    """The level curve from a plane x (rounded; levels outside 0..255 allowed) to a plane y of 0..255."""
    levels = HIGHEST - LOWEST + 1
    before = (x.round().clamp(LOWEST, HIGHEST) - LOWEST).to(torch.int32)
    after = y.round().clamp(0, 255).to(torch.int32)
    pairs = torch.bincount((before * 256 + after).flatten(), minlength=levels * 256).view(levels, 256)
    count = pairs.sum(dim=1)
    running = pairs.cumsum(dim=1)
    median = (2 * running < count.unsqueeze(1)).sum(dim=1).clamp(max=255)
    near = (median.unsqueeze(1) + torch.arange(-1, 2)).clamp(0, 255)
    # At an end of the range two of the three are the same level, which counts once.
    doubled = torch.where((median == 0) | (median == 255), pairs.gather(1, median.unsqueeze(1)).squeeze(1), 0)
    agreed = (pairs.gather(1, near).sum(dim=1) - doubled) / count.clamp(min=1)
    return LevelCurve(count, median.float(), agreed)
