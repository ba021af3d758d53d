"""Random views of items: changes that keep the meaning, for learning without labels.

Images are cropped, rotated, mirrored and recolored as in SimCLR (Chen et al. 2020, arXiv 2002.05709, section 3). Of all
other items a share of the values is replaced by those of other items at the same place (SCARF, Bahri et al. 2021,
arXiv 2106.15147), which suits rows of mixed columns as well as tokens.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.metrics.image.color import LUMA
from vaekit.shapes import Images, Items

CORRUPTED = 0.3
"""The share of values that are replaced."""
ASPECT = 4 / 3
"""The largest ratio of sides of a crop of a square."""
COLOR_CHANGE = 0.4
"""Brightness, contrast and saturation change by up to this share."""
GRAY = 0.2
"""The share of color images that lose their color."""


def random_views(x: Items, generator: Generator) -> Items:
    """One random view of each item (b, ...), in the same shape and dtype."""
    if x.dim() == 4 and x.is_floating_point():
        return image_views(x, generator)
    return corrupted(x, generator)


def corrupted(x: Items, generator: Generator) -> Items:
    """Items with a share of their values replaced by those of other items of the batch at the same place."""
    flat = x.flatten(1)
    donors = torch.randint(len(x), flat.shape, generator=generator)
    replaced = torch.rand(flat.shape, generator=generator) < CORRUPTED
    return torch.where(replaced, flat.gather(0, donors), flat).view(x.shape)


def image_views(x: Images, generator: Generator) -> Images:
    """Random crops of images (b, c, h, w), in their size, with other colors. Gray images, often of text or drawings,
    are cropped less and never mirrored."""
    colored = x.shape[1] >= 3
    views = moved(x, generator, least_area=0.3 if colored else 0.7, degrees=5.0 if colored else 15.0, mirrored=colored)
    if colored:
        views = torch.cat([recolored(views[:, :3], generator), views[:, 3:]], dim=1)
    return views


def moved(x: Images, generator: Generator, least_area: float, degrees: float, mirrored: bool) -> Images:
    """Random crops in the original size: rotated rectangles of at least a share of the area; edges are repeated."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(x), generator=generator)

    side = uniform(least_area, 1.0).sqrt()
    stretch = (uniform(-0.5, 0.5) * math.log(ASPECT)).exp()
    width, height = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
    left, top = (1 - width) * uniform(-1.0, 1.0), (1 - height) * uniform(-1.0, 1.0)
    angle = uniform(-degrees, degrees) * (math.pi / 180)
    sign = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0) if mirrored else torch.ones(len(x))
    rows = [
        width * angle.cos() * sign,
        -height * angle.sin(),
        left,
        width * angle.sin() * sign,
        height * angle.cos(),
        top,
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False).to(x.dtype)


def recolored(x: Images, generator: Generator) -> Images:
    """RGB images in [-1, 1] with random brightness, contrast, saturation and white balance; some are gray."""

    def factor(change: float, channels: int = 1) -> Tensor:
        return 1 + change * (2 * torch.rand(len(x), channels, 1, 1, generator=generator) - 1)

    light = (x.float() + 1) / 2 * factor(COLOR_CHANGE) * factor(COLOR_CHANGE / 4, 3)
    mean = light.mean(dim=(1, 2, 3), keepdim=True)
    light = mean + (light - mean) * factor(COLOR_CHANGE)
    luma = (light * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    kept = factor(COLOR_CHANGE) * (torch.rand(len(x), 1, 1, 1, generator=generator) >= GRAY)
    return ((luma + (light - luma) * kept) * 2 - 1).clamp(-1, 1).to(x.dtype)
