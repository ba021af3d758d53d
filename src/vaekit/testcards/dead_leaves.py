"""Dead leaves: a stand-in for photographs with the same statistics as far as scales, contrasts and colors go.

Opaque discs fall on each other until nothing is left uncovered. With radii of density proportional to r^-3 the result
looks alike at every scale and has the 1/f amplitude spectrum, the edges and the flat regions of natural images (Lee,
Mumford and Huang 2001, "Occlusion models for natural images"). Here each leaf also has a color of its own, light that
falls off along it, and some of a soft 1/f texture. The constants below are read off the pixels of Kodak's images and
of two other photographs; docs/measuring.md has both sides.
"""

import math

import torch
from torch import Generator, Tensor

from vaekit.shapes import Images

SMALLEST, LARGEST = 2.5, 0.7
"""Radii from so many pixels to this part of the shorter side."""
LAYERS = 5.0
"""Area of all leaves, in images: of five, each pixel is left bare with a chance of exp(-5)."""
MEAN_COLOR = (-0.12, -0.17, -0.28)
BRIGHTNESS, RED_GREEN, BLUE_YELLOW = 0.40, 0.10, 0.15
"""Spread of the leaves' colors along three axes that vary independently in photographs (Ruderman et al. 1998)."""
IMAGE = 0.15
"""How much of this spread (of its variance) whole images have in common: there are dark ones and green ones."""
AXES = ((1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
SHADING, TEXTURE = 0.12, 0.07
"""Spread of the light's slope across a leaf (from its middle to its edge), and of the texture on it."""


def dead_leaves(count: int, size: tuple[int, int], generator: Generator) -> Images:
    """So many images (b, 3, h, w) in [-1, 1]; the same for the same state of a CPU generator.

    They come in pairs whose common colors are opposites, so that a few of them already have the mean of many.

    Raises:
        ValueError: an image of less than 16 pixels a side was asked for: there is no range of scales in it.
    """
    if min(size) < 16:
        raise ValueError(f"dead leaves need 16 pixels a side or more, not {size[0]}x{size[1]}")
    tints = torch.randn(-(-count // 2), 1, len(AXES), generator=generator)
    pairs = torch.cat([tints, -tints], dim=1).flatten(0, 1)
    return torch.stack([_image(size, tint, generator) for tint in pairs[:count]])


def _image(size: tuple[int, int], tint: Tensor, generator: Generator) -> Tensor:
    """One image (3, h, w) whose leaves have `tint` (3,) in common, in units of the spread along each axis."""
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
    """Red, green and blue of each leaf (count, 3): what the image has in common plus what is its own.

    Most surfaces are nearly gray and a few are not: the product of two normals has variance 1 and a sharp peak at 0.
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
