"""dE2000: the perceived distance of two colors (CIE 142-2001; Sharma, Wu, Dalal 2005, Color Research & Application
30(1))."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.metrics.image.lab import lab
from vaekit.shapes import Images, PerItem

ROWS = 2**17
"""Pixels of a chunk, which fits into a CPU cache."""


@dataclass(frozen=True, eq=False)
class DeltaE:
    """dE2000 over the pixels of each image; 1 is about the smallest visible difference."""

    mean: PerItem
    percentile95: PerItem


def delta_e(x: Images, y: Images) -> DeltaE:
    """dE2000 of each pair of images (b, 3, h, w) in [-1, 1], mean and 95th percentile over pixels.

    >>> gray = torch.zeros(1, 3, 8, 8)
    >>> round(delta_e(gray, gray + 0.02).mean.item(), 2)
    0.96
    """
    return summary(delta_e_map(lab(x), lab(y)))


def summary(distance: Float[Tensor, "b h w"]) -> DeltaE:
    """Mean and 95th percentile (linear between ranks, as in NumPy) of a map of distances."""
    flat = distance.flatten(1)
    place = 0.95 * (flat.shape[1] - 1)
    lower = flat.kthvalue(math.floor(place) + 1, dim=1).values
    upper = flat.kthvalue(math.ceil(place) + 1, dim=1).values
    return DeltaE(flat.mean(dim=1), lower.lerp(upper, place - math.floor(place)))


def delta_e_map(first: Images, second: Images) -> Float[Tensor, "b h w"]:
    """dE2000 at each pixel between images (b, 3, h, w) in L*a*b*: the square root of eq. 22 of Sharma et al.

    with kL = kC = kH = 1.
    """
    batch, _, height, width = first.shape
    flat = [torch.movedim(values, 1, 0).reshape(3, -1) for values in (first, second)]
    parts = [_delta_e(a, b) for a, b in zip(*(values.split(ROWS, dim=1) for values in flat), strict=True)]
    return torch.cat(parts).view(batch, height, width)


def _delta_e(first: Float[Tensor, "3 n"], second: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
    """Equations 2 to 22; angles in radians."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    chroma = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    seventh = chroma**7
    scale = 1.5 - 0.5 * torch.sqrt(seventh / (seventh + 25.0**7))
    a1, a2 = a1 * scale, a2 * scale
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)
    turn = torch.remainder(h2 - h1 + math.pi, 2 * math.pi) - math.pi
    # The mean hue is halfway from the first to the second on the shorter arc; eq. 14 without its cases. For a gray
    # atan2 gives 0, and there eq. 14 is the sum of the hues.
    hue = torch.where(c1 * c2 == 0, h1 + h2, h1 + turn / 2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * torch.cos(hue - math.pi / 6) + 0.24 * torch.cos(2 * hue)
    t += 0.32 * torch.cos(3 * hue + math.pi / 30) - 0.20 * torch.cos(4 * hue - 63 * math.pi / 180)
    off = (lightness - 50).square()
    s_l = 1 + 0.015 * off / torch.sqrt(20 + off)
    s_c = 1 + 0.045 * chroma
    s_h = 1 + 0.015 * chroma * t
    degrees = torch.remainder(torch.rad2deg(hue), 360)
    theta = math.pi / 3 * torch.exp(-(((degrees - 275) / 25) ** 2))
    seventh = chroma**7
    rotation = -torch.sin(theta) * 2 * torch.sqrt(seventh / (seventh + 25.0**7))
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / s_c
    d_h = 2 * torch.sqrt(c1 * c2) * torch.sin(turn / 2) / s_h
    return (d_l.square() + d_c.square() + d_h.square() + rotation * d_c * d_h).clamp(min=0).sqrt()
