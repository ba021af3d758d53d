"""The global change of tone and color of an image, without local changes.

With g the mean of red, green and blue, (u, v) the two axes across it, V and m the largest and smallest of the three:

    g' = c0 + c1 g + c2 u + c3 v + c4 (V - g) + c5 (g - m)
    (u', v') = d + k g + A (u, v)

A change of brightness or contrast shows in c0 and c1 alone, since these alone act on grays; a change of
saturation scales A, and a rotation of the hues rotates it. c2 .. c5 model the effect of desaturation on the lightness
of colors: towards one luma or another, in HSV or in HSL. d and k are a cast.

The coefficients are fitted to means over blocks (the equations are linear, so they hold for means as well), where
noise, grids and rounding average out. One more regressor, the Laplacian of the block means, models the light that a
blur carries across the borders of blocks; without it a blur would appear as a loss of contrast.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.metrics.image.levels import Plane, Planes

BLOCK = 8
ROUNDS = 6
"""Rounds of reweighting: blocks with large residuals count less (Cauchy weights)."""
SPREAD = 1.0
"""The error of a block of two equal images, in levels; the least scale of the weights."""
DEPENDENCE = 6.0
"""The number of blocks per independent one: errors of neighboring blocks are correlated."""
TONE_PRIOR = (60.0, 0.5, 0.15, 0.15, 0.3, 0.3, 1.0)
"""The prior standard deviation of each coefficient of g' around no change."""
CHROMA_PRIOR = (3.0, 0.02, 0.5, 0.5, 1.0)
"""The same for u' and v'. The prior of a cast is narrower than that of a rotation: where all colors are alike either
would explain the change."""


@dataclass(frozen=True, eq=False)
class ColorChange:
    """The coefficients and statistics of the image that they were fitted to."""

    tone: Float[Tensor, "6"]
    """c0 .. c5; c0 in levels."""
    cast: Float[Tensor, "2"]
    """d, in levels, at the image's mean g."""
    cast_slope: Float[Tensor, "2"]
    """k."""
    chroma: Float[Tensor, "2 2"]
    """A."""
    mean: float
    """The mean of g in the original, in levels."""
    std: float
    """The standard deviation of g over the blocks."""
    colorfulness: float
    """Root mean square of (u, v) in the original, in levels."""
    scale: float
    """The mean scale of (u, v): 0.85 is 15 % less saturated."""
    turn: float
    """The mean rotation of (u, v) in degrees, weighted by their squares; positive from red to yellow."""

    @property
    def slope(self) -> float:
        """c1: the contrast of grays."""
        return self.tone[1].item()

    @property
    def offset(self) -> float:
        """c0: the level that black is mapped to."""
        return self.tone[0].item()


def fit_color_change(x: Planes, y: Planes, usable: Tensor) -> ColorChange:
    """Fit the change from x to y, planes (3, h, w) in levels, where `usable` (h, w), bool, is true.

    The estimate is maximum a posteriori under normal priors around no change, with Cauchy weights. Without usable
    pixels it is no change.
    """
    before, after, weight = _block_means(x, y, usable)
    g, u, v = _opponent(before[:3])
    g2, u2, v2 = _opponent(after)
    one = torch.ones_like(g)
    mean = ((g * weight).sum() / weight.sum().clamp(min=1e-9)).item()
    tone = torch.stack([one, g - mean, u, v, before[3] - g, g - before[4], _laplacian(g, weight)])
    taken = weight > 0.25
    share = weight[taken].double()
    c = _regress(tone[:, taken], (g2 - g)[taken], share, TONE_PRIOR)
    du = _regress(
        torch.stack([one, g - mean, u, v, _laplacian(u, weight)])[:, taken], (u2 - u)[taken], share, CHROMA_PRIOR
    )
    dv = _regress(
        torch.stack([one, g - mean, u, v, _laplacian(v, weight)])[:, taken], (v2 - v)[taken], share, CHROMA_PRIOR
    )
    chroma = torch.eye(2, dtype=torch.float64) + torch.stack([du[2:4], dv[2:4]])
    z = torch.stack([u[taken], v[taken]]).double()
    total = share.sum().clamp(min=1e-9)
    moved = chroma @ z
    along = ((z * moved).sum(dim=0) * share).sum() / total
    across = ((z[0] * moved[1] - z[1] * moved[0]) * share).sum() / total
    power = ((z * z).sum(dim=0) * share).sum().item() / total.item()
    variance = ((g[taken] - mean).square() * share).sum().item() / total.item()
    slope = 1 + c[1].item()
    return ColorChange(
        tone=torch.tensor([c[0].item() - c[1].item() * mean, slope, *c[2:6].tolist()]),
        cast=torch.stack([du[0], dv[0]]).float(),
        cast_slope=torch.stack([du[1], dv[1]]).float(),
        chroma=chroma.float(),
        mean=mean,
        std=variance**0.5,
        colorfulness=power**0.5,
        scale=math.hypot(along.item(), across.item()) / power if power > 0 else 1.0,
        turn=math.degrees(math.atan2(across.item(), along.item())) if power > 0 else 0.0,
    )


def apply_color_change(change: ColorChange, x: Planes) -> Planes:
    """Apply a change to planes (3, h, w) in levels, without clamping."""
    c0, c1, c2, c3, c4, c5 = change.tone.tolist()
    g, u, v = _opponent(x)
    g2 = torch.add(c0 + (c1 - c4 + c5) * g, x.amax(dim=0), alpha=c4)
    g2.add_(x.amin(dim=0), alpha=-c5).add_(u, alpha=c2).add_(v, alpha=c3)
    lit = g - change.mean
    (a, b), (c, d) = change.chroma.tolist()
    (e, f), (k, n) = change.cast.tolist(), change.cast_slope.tolist()
    u2 = (a * u).add_(v, alpha=b).add_(lit, alpha=k).add_(e)
    v2 = (c * u).add_(v, alpha=d).add_(lit, alpha=n).add_(f)
    return _from_opponent(g2, u2, v2)


def chroma_shift(change: ColorChange, color: Float[Tensor, "3"]) -> tuple[float, float]:
    """The shift of (u, v) that the change gives one color, red, green and blue in levels."""
    g, u, v = _opponent(color)
    across = torch.stack([u, v])
    shift = change.chroma @ across - across + change.cast + change.cast_slope * (g - change.mean)
    return shift[0].item(), shift[1].item()


def _opponent(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, g, b = x
    return (r + g + b) / 3, (r - g) / math.sqrt(2), (r + g - 2 * b) / math.sqrt(6)


def _from_opponent(g: Plane, u: Plane, v: Plane) -> Planes:
    first, second = u / math.sqrt(2), v / math.sqrt(6)
    return torch.stack([g + first + second, g - first + second, g - 2 * second])


def _block_means(x: Planes, y: Planes, usable: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means over the usable pixels of each block: of r, g, b, largest, smallest of x; of y; and the usable share."""
    block = max(1, min(BLOCK, min(usable.shape) // 8))
    mask = usable.float()
    planes = torch.cat([x, x.amax(dim=0, keepdim=True), x.amin(dim=0, keepdim=True), y]) * mask
    sums = F.avg_pool2d(torch.cat([planes, mask.unsqueeze(0)]).unsqueeze(0), block)[0]
    weight = sums[-1]
    means = sums[:-1] / weight.clamp(min=1e-6)
    return means[:5], means[5:], weight


def _laplacian(plane: Tensor, weight: Tensor) -> Tensor:
    """The mean of a block's four neighbors minus the block; 0 where one of the five is not fully usable."""
    padded = F.pad(plane[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    least = -F.max_pool2d(-weight[None, None], 3, stride=1, padding=1)[0, 0]
    neighbors = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return torch.where(least > 0.5, neighbors / 4 - plane, 0)


def _regress(features: Tensor, change: Tensor, share: Tensor, prior: tuple[float, ...]) -> Tensor:
    """The coefficients (k,), float64, of a change (n,) by features (k, n)."""
    columns, target = features.double(), change.double()
    precision = torch.diag(torch.tensor(prior, dtype=torch.float64) ** -2)
    weight, coefficients = share, torch.zeros(len(prior), dtype=torch.float64)
    if not len(target):
        return coefficients
    spread = max(SPREAD, 1.4826 * (target - target.median()).abs().median().item())
    for _ in range(ROUNDS):
        weighted = columns * (weight / (DEPENDENCE * spread**2))
        coefficients = torch.linalg.solve(weighted @ columns.T + precision, weighted @ target)
        error = target - coefficients @ columns
        spread = max(SPREAD, 1.4826 * error.abs().median().item())
        weight = share / (1 + (error / (2 * spread)).square())
    return coefficients
