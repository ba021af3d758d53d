"""Gradients of brightness, and the measures derived from them: edge sharpness and gradient retention."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vaekit.metrics.image.color import LEVELS_PER_UNIT, Planes
from vaekit.shapes import PerItem

Gradients = Float[Tensor, "b i j"]
"""Gradient magnitudes of planes, without the outermost pixels."""

STRONGEST = 0.05
"""The share of an image that counts as its strongest edges."""
LEAST_EDGE = 8 / LEVELS_PER_UNIT
"""The least gradient of an edge, 8 levels per pixel."""


def gradient(plane: Planes) -> Gradients:
    """The gradient magnitude by Sobel's operator, per pixel, of planes (b, h, w): (b, h - 2, w - 2).

        G = sqrt(G_h^2 + G_v^2),  G_h = [-1 0 1] across, [1 2 1] / 8 down,  G_v its transpose

    so that a ramp that rises by s in each pixel has gradient s. Sobel and Feldman 1968, as in Gonzalez and Woods,
    "Digital image processing", section 10.2. Sides below 3 give empty planes.

    >>> gradient(torch.arange(4.0).expand(1, 3, 4))
    tensor([[[1., 1.]]])
    """
    across = plane[..., 2:] - plane[..., :-2]
    down = plane[:, 2:] - plane[:, :-2]
    horizontal = torch.add(across[:, :-2] + across[:, 2:], across[:, 1:-1], alpha=2)
    vertical = torch.add(down[..., :-2] + down[..., 2:], down[..., 1:-1], alpha=2)
    return horizontal.square_().add_(vertical.square_()).sqrt_().div_(8)


def strongest_edges(x: Gradients) -> Bool[Tensor, "b i j"]:
    """The mask (b, i, j) of gradient magnitudes x (b, i, j) that are among the largest `STRONGEST` fraction of their
    image and at least `LEAST_EDGE`."""
    values = x.flatten(1)
    rank = max(1, round(values.shape[1] * (1 - STRONGEST)))
    threshold = values.kthvalue(rank, dim=1).values.clamp(min=LEAST_EDGE)
    return x >= threshold.view(-1, 1, 1)


def edge_sharpness(x: Gradients, y: Gradients, edges: Bool[Tensor, "b i j"]) -> PerItem:
    """Gradient magnitudes y of a reconstruction over those of the original, x, at the original's strongest edges.

        sum_{edges} y / sum_{edges} x

    No unit; 1 is as sharp, below is softer, above is sharper; NaN for an image without edges. All are (b, i, j), as
    `gradient` and `strongest_edges` give them.

    >>> step = gradient(torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 5, 6))
    >>> edge_sharpness(step, 0.5 * step, strongest_edges(step))
    tensor([0.5000])
    """
    return (y * edges).sum(dim=(1, 2)) / (x * edges).sum(dim=(1, 2))


def gradient_retention(x: Gradients, y: Gradients) -> PerItem:
    """Gradient retention: the mean gradient magnitude of the reconstruction over that of the original.

        mean(y) / mean(x)

    of gradient magnitudes (b, i, j) as `gradient` gives them. No unit; 1 is equal; below is softer; noise and grids
    raise it as detail does. NaN for an original without gradients. Source: civitai.com/articles/30734, whose
    script is private (its 359 of 404 for SDXL's VAE is 0.89); the operator here is Sobel's, of luma.

    >>> ramp = gradient(torch.arange(6.0).expand(1, 5, 6))
    >>> gradient_retention(ramp, 0.9 * ramp)
    tensor([0.9000])
    """
    return y.mean(dim=(1, 2)) / x.mean(dim=(1, 2))
