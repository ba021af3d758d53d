"""The shape of a path of decoded items: its length, its turns, its largest step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Path = Float[Tensor, "n ..."]
TRIMMED = (0.01, 0.99)
"""The quantiles of path lengths that are kept, as in StyleGAN."""


@dataclass(frozen=True)
class PathShape:
    """How decoded items change along a path of equal steps between two latents."""

    ratio: float
    """The length of the path, the sum of the distances of neighbors, relative to the distance of its ends: 1 for a
    straight line. A cross-fade is straight, too."""
    turn: float
    """The mean angle between neighboring steps, in degrees: 0 for a straight line, 90 for steps without relation. It
    depends on the number of steps."""
    jump: float
    """The largest step relative to the mean step: 1 for even changes, the number of steps for a single jump."""


def path_shape(points: Path) -> PathShape:
    """The shape of a path of at least three points, by Euclidean distances in float64. NaN where ends are equal, or
    steps vanish.

        ratio = sum_k |x_k+1 - x_k| / |x_n - x_0|    turn = mean_k angle(x_k+1 - x_k, x_k - x_k-1)

    The ratio is the length of a curve by its chords, as in Chen et al. 2018 ("Metrics for deep generative models",
    arXiv 1711.01204, eq. 3) and Shao et al. 2018 (arXiv 1711.08014), over that of the straight line between its ends.

    >>> path_shape(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])).turn
    90.0
    """
    steps = points.double().flatten(1).diff(dim=0)
    lengths = steps.norm(dim=1)
    ends = steps.sum(dim=0).norm().item()
    length = lengths.sum().item()
    if not ends or not length:
        return PathShape(math.nan, math.nan, math.nan)
    products = (steps[1:] * steps[:-1]).sum(dim=1) / (lengths[1:] * lengths[:-1])
    angles = torch.rad2deg(torch.acos(products.clamp(-1, 1)))
    return PathShape(length / ends, angles.nanmean().item(), (lengths.max() / lengths.mean()).item())


def trimmed(values: Sequence[float], quantiles: tuple[float, float] = TRIMMED) -> list[float]:
    """The values from the lower to the upper quantile, both included, in their order.

    >>> trimmed([0.0, 1.0, 2.0, 100.0], (0.25, 0.75))
    [0.0, 1.0, 2.0, 100.0]
    """
    if not values:
        return []
    low = np.quantile(values, quantiles[0], method="lower")
    high = np.quantile(values, quantiles[1], method="higher")
    return [value for value in values if low <= value <= high]
