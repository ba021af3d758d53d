"""Equivariance: whether latents are scaled, mirrored and turned with their images.

    decoder: |D(T z) - T x| / |T x - mean|        encoder: |E(T x) - T z| / |T z - mean|

z = E(x). Latents of published VAEs are far from equivariant, and diffusion models learn them better once they are
(Kouzelis et al. 2025, "EQ-VAE", arXiv 2502.09509, whose loss compares D(T z) with T x, for rotations and scales; mirror
images are added here). Norms are over all values of an item, means over the positions of each channel, so that an error
of 1 is that of a constant: 0 is perfect, no unit. The decoder's error includes that of the reconstruction, which is
listed beside it with T the identity.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import PerItem

Maps = Float[Tensor, "b c h w"]
HALF = "half"
TURN = "turn"
TRANSFORMS: Mapping[str, Callable[[Maps], Maps]] = {
    HALF: lambda maps: F.avg_pool2d(maps, 2),
    "flip": lambda maps: maps.flip(3),
    TURN: lambda maps: maps.rot90(1, (2, 3)),
}
"""Half the size (means of 2x2), mirrored left to right, turned by 90 degrees."""


def relative_error(maps: Maps, reference: Maps) -> PerItem:
    """|maps - reference| / |reference - mean| of each item, float64; NaN for a constant reference.

    >>> x = torch.tensor([[[[0.0, 2.0]]]])
    >>> relative_error(x, x), relative_error(torch.ones_like(x), x)
    (tensor([0.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    maps, reference = maps.double(), reference.double()
    spread = (reference - reference.mean(dim=(2, 3), keepdim=True)).flatten(1).norm(dim=1)
    error = (maps - reference).flatten(1).norm(dim=1)
    return torch.where(spread > 0, error / spread, torch.nan)
