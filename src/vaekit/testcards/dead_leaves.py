"""Dead leaves: random images with the statistics of photographs in scales, contrasts and colors.

Opaque discs cover each other until the whole image is covered. With radii of density proportional to r^-3 the result
is self-similar and has the 1/f amplitude spectrum, the edges and the flat regions of natural images (Lee,
Mumford and Huang 2001, "Occlusion models for natural images"). Here each leaf also has its own color,
a gradient of light, and a soft 1/f texture. The constants are estimated from the Kodak images and two other
photographs; docs/measuring.md has the comparison.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.shapes import Images

SMALLEST, LARGEST = 2.5, 0.7
"""The range of radii: the first in pixels, the second as a fraction of the shorter side."""
LAYERS = 5.0
"""The total area of the leaves, in images: with five, a pixel stays uncovered with probability exp(-5)."""
MEAN_COLOR = (-0.12, -0.17, -0.28)
BRIGHTNESS, RED_GREEN, BLUE_YELLOW = 0.40, 0.10, 0.15
"""The standard deviations of the leaves' colors along three axes that vary independently in photographs (Ruderman et
al. 1998)."""
IMAGE = 0.15
"""The share of this variance that is between images, as there are dark and green photographs."""
LEAST_SIDE = 16
"""The minimum side in pixels for drawing leaves."""
AXES = ((1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
SHADING, TEXTURE = 0.12, 0.07
"""The standard deviations of the gradient of light across a leaf (from its middle to its edge), and of its texture."""


def dead_leaves(count: int, size: tuple[int, int], generator: Generator) -> Images:
    """Draw `count` images (b, 3, h, w) in [-1, 1]; deterministic given the state of a CPU generator.

    They are in pairs with opposite common colors, so that the mean of a few is close to the mean of many. Images with a
    side below 16 pixels are drawn larger, and averaged.
    """
    if min(size) < LEAST_SIDE:
        larger = max(size[0], LEAST_SIDE), max(size[1], LEAST_SIDE)
        return F.adaptive_avg_pool2d(dead_leaves(count, larger, generator), size)
    tints = torch.randn(-(-count // 2), 1, len(AXES), generator=generator)
    pairs = torch.cat([tints, -tints], dim=1).flatten(0, 1)
    return torch.stack([_image(size, tint, generator) for tint in pairs[:count]])


def _image(size: tuple[int, int], tint: Tensor, generator: Generator) -> Tensor:
    """One image (3, h, w) with the common color `tint` (3,), in standard deviations along each axis."""
    height, width = size
    radii = _radii(size, generator)
    count = len(radii)
    places = torch.rand(count, 2, generator=generator) * (torch.tensor(size) + 2 * radii[:, None]) - radii[:, None]
    colors = _colors(count, tint, generator)
    slopes = SHADING * torch.randn(count, 2, generator=generator) / radii[:, None]
    roughness = TEXTURE * torch.randn(count, generator=generator).abs()
    texture = one_over_f(size, generator)
    image = colors.mean(dim=0)[:, None, None].repeat(1, height, width)
    rows, columns = torch.arange(height).float(), torch.arange(width).float()
    for i in range(count):
        radius, (y, x) = radii[i].item(), places[i].tolist()
        top, bottom = max(0, math.floor(y - radius)), min(height, math.ceil(y + radius) + 1)
        left, right = max(0, math.floor(x - radius)), min(width, math.ceil(x + radius) + 1)
        if top >= bottom or left >= right:
            continue
        dy, dx = rows[top:bottom, None] - y, columns[None, left:right] - x
        cover = (radius + 0.5 - (dy.square() + dx.square()).sqrt()).clamp(0, 1)
        light = slopes[i, 0] * dy + slopes[i, 1] * dx + roughness[i] * texture[top:bottom, left:right]
        window = image[:, top:bottom, left:right]
        window.lerp_(colors[i][:, None, None] + light, cover.expand_as(window))
    return image.clamp(-1, 1)


def _radii(size: tuple[int, int], generator: Generator) -> Tensor:
    """Radii of density r^-3, enough of them to cover the image `LAYERS` times.

    A leaf's middle may lie outside by its radius, so the area on which leaves fall grows with them.
    """
    smallest, largest = SMALLEST, LARGEST * min(size)
    mean_area = 2 * math.pi * math.log(largest / smallest) / (smallest**-2 - largest**-2)
    count = math.ceil(LAYERS * size[0] * size[1] / mean_area)
    chances = torch.rand(count, generator=generator)
    return (smallest**-2 - chances * (smallest**-2 - largest**-2)).rsqrt()


def _colors(count: int, tint: Tensor, generator: Generator) -> Tensor:
    """Red, green and blue of each leaf (count, 3): the color common to the image plus its own.

    Most surfaces are nearly gray, few are colorful: the product of two normals has variance 1 and a sharp peak at 0.
    """
    spread = torch.tensor([BRIGHTNESS, RED_GREEN, BLUE_YELLOW])
    own = torch.randn(count, 3, generator=generator)
    own[:, 1:] *= torch.randn(count, 2, generator=generator)
    mixed = tint * IMAGE**0.5 + own * (1 - IMAGE) ** 0.5
    return torch.tensor(MEAN_COLOR) + mixed * spread @ torch.tensor(AXES)


def one_over_f(size: tuple[int, int], generator: Generator) -> Tensor:
    """Noise (h, w) of mean 0 and standard deviation 1 whose amplitude falls as 1 / frequency."""
    height, width = size
    noise = torch.fft.rfft2(torch.randn(height, width, generator=generator))
    frequency = (torch.fft.fftfreq(height)[:, None].square() + torch.fft.rfftfreq(width).square()).sqrt()
    frequency[0, 0] = math.inf
    field = torch.fft.irfft2(noise / frequency, s=size)
    return field / field.std()
