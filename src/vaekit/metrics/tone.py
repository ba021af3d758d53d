"""Tone: how contrast, black and white came back."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vaekit.shapes import PerItem

LEVELS_PER_UNIT = 127.5
ENDS = (0.01, 0.99)
"""The quantiles that stand for black and white: single pixels say nothing on tone."""


@dataclass(frozen=True, eq=False)
class Tone:
    """The tone curve from original to reconstruction, as far as a few numbers tell it."""

    slope: PerItem
    """Of the line through luma after against luma before: 1 keeps contrast, below is flatter; NaN for a flat
    picture."""
    range: PerItem
    """The distance from black to white after, over that before: 1 keeps it; NaN for a flat picture."""
    white: PerItem
    """How far white moved, in levels of 255."""
    black: PerItem
    """How far black moved, in levels of 255."""


def tone(x: Float[Tensor, "b h w"], y: Float[Tensor, "b h w"]) -> Tone:
    """The tone of luma planes y (b, h, w) against that of x, both in [-1, 1].

        slope = cov(x, y) / var(x),   white = Q99(y) - Q99(x),   black = Q1(y) - Q1(x),
        range = (Q99(y) - Q1(y)) / (Q99(x) - Q1(x))

    with Qp the p-th percentile of a picture's luma. Least squares for the slope: noise that the VAE adds does not
    count as contrast, as it does in `contrast_gain`.

    >>> import torch
    >>> x = torch.linspace(-1, 1, 101).view(1, 1, 101)
    >>> found = tone(x, 0.5 * x)
    >>> found.slope, found.range.round(decimals=3), found.white.round(decimals=1)
    (tensor([0.5000]), tensor([0.5000]), tensor([-62.5000]))
    """
    before, after = (values.flatten(1) - values.mean(dim=(1, 2)).unsqueeze(1) for values in (x, y))
    slope = (before * after).sum(dim=1) / before.square().sum(dim=1)
    low1, high1 = quantiles(x)
    low2, high2 = quantiles(y)
    return Tone(
        slope, (high2 - low2) / (high1 - low1), (high2 - high1) * LEVELS_PER_UNIT, (low2 - low1) * LEVELS_PER_UNIT
    )


def quantiles(plane: Float[Tensor, "b h w"]) -> tuple[PerItem, PerItem]:
    """Black and white: the value of the nearest rank to each of `ENDS`."""
    flat = plane.flatten(1)
    count = flat.shape[1]
    low, high = (flat.kthvalue(1 + round(end * (count - 1)), dim=1).values for end in ENDS)
    return low, high
