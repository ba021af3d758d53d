"""Oklab: an approximately uniform color space without the hue shift of blues in Lab (Ottosson 2020,
"A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/)."""

import torch
from torch import Tensor

from vaekit.shapes import Images

LMS_OF_RGB = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
"""Linear sRGB to cone responses, white = 1."""
LAB_OF_ROOTS = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
TOE = 1e-3
"""The light below which the cube root is replaced by a line: 3 of 255 levels."""


def oklab(x: Images) -> Images:
    """Images (b, 3, h, w) in [-1, 1] as Oklab: (b, 3, h, w), float32, L in [0, 1], a and b in about [-0.4, 0.3].

    Differentiable everywhere, as a loss needs it. At black the slope of the cube root is infinite, so below a light of
    0.001 it is replaced by a line to zero. The curves continue outside [-1, 1], so that a loss has a gradient there.

    >>> oklab(torch.ones(1, 3, 1, 1)).flatten().mul(100).round().abs().tolist()
    [100.0, 0.0, 0.0]
    """
    lms = torch.einsum("kc,bchw->bkhw", torch.tensor(LMS_OF_RGB, device=x.device), unbounded_light(x))
    return torch.einsum("kc,bchw->bkhw", torch.tensor(LAB_OF_ROOTS, device=x.device), signed_root(lms))


def unbounded_light(x: Tensor) -> Tensor:
    """Values, sRGB-encoded, as light: (v / 12.92) below 0.04045, ((v + 0.055) / 1.055)^2.4 above, without clamping."""
    value = (x.float() + 1) / 2
    above = ((value.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(value <= 0.04045, value / 12.92, above)


def signed_root(light: Tensor) -> Tensor:
    """The cube root, of the same sign; a line between -TOE and TOE."""
    root = light.sign() * light.abs().clamp(min=TOE) ** (1 / 3)
    return torch.where(light.abs() < TOE, light * TOE ** (-2 / 3), root)
