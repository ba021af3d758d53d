"""Paths between raw latents: linear, spherical, and linear with the statistics of a Gaussian.

Each takes the two ends (z, ...) and positions t (n,) from 0 to 1, and returns points (n, z, ...). At t = 0 and t = 1
they are the ends, bit for bit.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Latent = Float[Tensor, "z ..."]
Positions = Float[Tensor, "n"]
Points = Float[Tensor, "n z ..."]
Path = Callable[[Latent, Latent, Positions], Points]

PARALLEL = 1e-4
"""Angle in radians below which (or within which of a half turn) a spherical path is computed as a straight line."""


def linear(a: Latent, b: Latent, t: Positions) -> Points:
    """(1 - t) a + t b: the straight line.

    >>> linear(torch.tensor([0.0]), torch.tensor([4.0]), torch.tensor([0.0, 0.25, 1.0])).flatten()
    tensor([0., 1., 4.])
    """
    t = _along_first_axis(t, a)
    return (1 - t) * a + t * b


def spherical(a: Latent, b: Latent, t: Positions) -> Points:
    """sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between a and b: the great circle between ends
    of one norm (Shoemake 1985; White 2016, arXiv 1609.04468). A line where the ends are parallel or opposite."""
    cosine = torch.dot(a.flatten(), b.flatten()) / (a.norm() * b.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if not PARALLEL < angle < torch.pi - PARALLEL:
        return linear(a, b, t)
    t = _along_first_axis(t, a)
    return torch.sin((1 - t) * angle) / torch.sin(angle) * a + torch.sin(t * angle) / torch.sin(angle) * b


def gaussian(a: Latent, b: Latent, t: Positions) -> Points:
    """((1 - t) a + t b) / sqrt((1 - t)^2 + t^2): if the ends are independent samples of N(0, I), every point has that
    distribution, too (Bodin et al. 2024, arXiv 2408.08558, for two latents and mean 0). The middle of a straight line
    is too close to the mean for that."""
    weights = _along_first_axis(t, a)
    return linear(a, b, t) / ((1 - weights).square() + weights.square()).sqrt()


PATHS: Mapping[str, Path] = {"linear": linear, "spherical": spherical, "gaussian": gaussian}


def through(ends: Float[Tensor, "k z ..."], steps: int, path: Path) -> Points:
    """Points on a path through two or more latents: all ends, and `steps` points between each two neighbors.

    >>> through(torch.tensor([[0.0], [2.0], [6.0]]), 1, linear).flatten()
    tensor([0., 1., 2., 4., 6.])
    """
    t = torch.linspace(0, 1, steps + 2, dtype=ends.dtype, device=ends.device)
    parts = [path(a, b, t[:-1]) for a, b in pairwise(ends)]
    return torch.cat([*parts, ends[-1:]])


def _along_first_axis(t: Positions, like: Latent) -> Tensor:
    """Positions as (n, 1, ...), to be multiplied with a latent."""
    return t.to(like).view(-1, *[1] * like.dim())
