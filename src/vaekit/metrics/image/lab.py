"""CIE L*a*b* of sRGB images: IEC 61966-2-1 for the encoding, CIE 15 for the rest; D65, the 2 degree observer."""

import torch
from torch import Tensor

from vaekit.shapes import Images

XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB to XYZ, Rec. 709 primaries."""
WHITE = (0.95047, 1.0, 1.08883)
"""D65."""


def linear_light(x: Tensor) -> Tensor:
    """Values in [-1, 1], sRGB-encoded, as light in [0, 1]: (v / 12.92) near black, ((v + 0.055) / 1.055)^2.4 above.

    Values outside the range are clamped: no screen shows less than black or more than white.
    """
    value = ((x.float() + 1) / 2).clamp(0, 1)
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def encoded_light(light: Tensor) -> Tensor:
    """The inverse of `linear_light`: light in [0, 1] as values in [-1, 1], sRGB-encoded, float32.

        12.92 l near black,   1.055 l^(1/2.4) - 0.055 above

    Light outside the range is clamped.

    >>> [round(value, 2) for value in encoded_light(torch.tensor([0.0, 0.5, 1.0])).tolist()]
    [-1.0, 0.47, 1.0]
    """
    light = light.float().clamp(0, 1)
    value = torch.where(light <= 0.04045 / 12.92, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return value * 2 - 1


def lab(x: Images) -> Images:
    """Images (b, 3, h, w) in [-1, 1] as L*, a*, b*: (b, 3, h, w), float32, L* in [0, 100].

        L* = 116 f(Y/Yn) - 16,   a* = 500 (f(X/Xn) - f(Y/Yn)),   b* = 200 (f(Y/Yn) - f(Z/Zn))

    with f(t) = t^(1/3) above (6/29)^3 and t / (3 (6/29)^2) + 4/29 below.

    >>> lab(torch.ones(1, 3, 1, 1)).flatten().round().abs().tolist()
    [100.0, 0.0, 0.0]
    """
    light = linear_light(x)
    rows = torch.tensor(XYZ_OF_RGB, device=x.device) / torch.tensor(WHITE, device=x.device).unsqueeze(1)
    xyz = torch.einsum("kc,bchw->bkhw", rows, light)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-12) ** (1 / 3), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f.unbind(1)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=1)
