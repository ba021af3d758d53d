"""Properties of images that can be moved along: brightness, contrast, saturation, warmth and detail."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.errors import NotFound, did_you_mean, printable
from vaekit.metrics.image.color import LEVELS_PER_UNIT, as_rgb, luma
from vaekit.shapes import Images

SMALLEST_VARIANCE = 1e-12
"""Added to variances: the standard deviation of a constant image has a gradient."""
PerImage = Float[Tensor, "b"]


def brightness(x: Images) -> PerImage:
    """The mean luma, from 0 to 255 levels.

    >>> brightness(torch.zeros(1, 3, 2, 2))
    tensor([127.5000])
    """
    return (luma(x).flatten(1).mean(dim=1) + 1) * LEVELS_PER_UNIT


def contrast(x: Images) -> PerImage:
    """The standard deviation of luma over pixels, in levels."""
    return (luma(x).flatten(1).var(dim=1, correction=0) + SMALLEST_VARIANCE).sqrt() * LEVELS_PER_UNIT


def saturation(x: Images) -> PerImage:
    """The mean difference of the largest and the smallest of red, green and blue, in levels.

    >>> saturation(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1))
    tensor([255.])
    """
    return (x.amax(dim=1) - x.amin(dim=1)).flatten(1).mean(dim=1) * LEVELS_PER_UNIT


def warmth(x: Images) -> PerImage:
    """The mean of red minus blue, in levels."""
    return (x[:, 0] - x[:, 2]).flatten(1).mean(dim=1) * LEVELS_PER_UNIT


def detail(x: Images) -> PerImage:
    """The mean difference of the luma of neighboring pixels, in levels."""
    y = luma(x)
    steps = [y.diff(dim=axis).abs().flatten(1) for axis in (1, 2)]
    return torch.cat(steps, dim=1).mean(dim=1) * LEVELS_PER_UNIT


PROPERTIES: Mapping[str, Callable[[Images], PerImage]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
    "warmth": warmth,
    "detail": detail,
}
"""Of RGB images in [-1, 1]."""


def image_property(name: str) -> Callable[[Tensor], Tensor]:
    """A property of images (b, c, h, w) as people see them: values are clamped to [-1, 1], gray is repeated, and alpha
    is laid over white.

    Raises:
        NotFound: there is no such property.
    """
    measure = PROPERTIES.get(name)
    if measure is None:
        raise NotFound(
            f"Images have no property {printable(repr(name))}.",
            f"Expected {', '.join(PROPERTIES)}.",
            did_you_mean(name, PROPERTIES),
        )
    return lambda x: measure(as_rgb(x.clamp(-1, 1)))
