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

MOST_NOISE = 4.0
"""The largest standard deviation that counts as noise, in levels; beyond it is lost detail."""


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
    """The share of them within 1 of the median, or more if there is noise: 1 where the level alone determines the
    result."""
    noise: float = 0.0
    """The standard deviation of the noise of the reconstruction."""


def level_curve(x: Plane, y: Plane, noise: float = 0.0) -> LevelCurve:
    """The level curve from a plane x (rounded; levels outside 0..255 allowed) to a plane y of 0..255.

    Args:
        x: the original, or a prediction of y.
        y: the reconstruction.
        noise: the standard deviation of its noise (`noise_of`).
    """
    levels = HIGHEST - LOWEST + 1
    before = (x.round().clamp(LOWEST, HIGHEST) - LOWEST).to(torch.int32)
    after = y.round().clamp(0, 255).to(torch.int32)
    pairs = torch.bincount((before * 256 + after).flatten(), minlength=levels * 256).view(levels, 256)
    count = pairs.sum(dim=1)
    running = pairs.cumsum(dim=1)
    median = (2 * running < count.unsqueeze(1)).sum(dim=1).clamp(max=255)
    reach = max(1, round(noise))
    before_each = torch.cat([running.new_zeros(levels, 1), running], dim=1)
    ends = ((median - reach).clamp(min=0), (median + reach).clamp(max=255) + 1)
    below, up_to = (before_each.gather(1, end.unsqueeze(1)).squeeze(1) for end in ends)
    return LevelCurve(count, median.float(), (up_to - below) / count.clamp(min=1), noise)


def noise_of(x: Plane, y: Plane) -> float:
    """The standard deviation of the noise of y, given the plane x that it should be; at most `MOST_NOISE`.

    With D(r) = |r(i, j) - r(i + 1, j) - r(i, j + 1) + r(i + 1, j + 1)| / 2, in which smooth changes cancel and white
    noise keeps its standard deviation, it is 1.4826 times the median of D(y - x) over the quarter of the pixels with
    the least D(x): they have no detail to lose, which would not be noise.

    >>> x = torch.linspace(0, 255, 64).expand(64, 64)
    >>> noise_of(x, x * 0.9)
    0.0
    >>> noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    >>> round(noise_of(x, x * 0.9 + 2 * noise))
    2
    """
    smooth, detail = _diagonal(y - x), _diagonal(x)
    noise = 1.4826 * smooth[detail <= detail.flatten().kthvalue(max(1, detail.numel() // 4)).values].median().item()
    return min(noise, MOST_NOISE)


def _diagonal(plane: Plane) -> Float[Tensor, "i j"]:
    """Half the diagonal differences of each 2 x 2 pixels, without sign."""
    across = plane[:, :-1] - plane[:, 1:]
    return (across[:-1] - across[1:]).abs() / 2
