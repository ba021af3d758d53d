"""Previews of latents: a linear map from latents to colors, one pixel per position.

The decoders of image VAEs are close to linear at the scale of one position, so that three weighted sums of the channels
show what an image will be. The weights are fitted by least squares to latents and the images that belong to them,
averaged over each position.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.shapes import Images

RIDGE = 1e-3
"""Added to the diagonal of the normal equations, relative to its mean: channels may be constant or repeat others."""
TINY = 1e-12
"""The same in absolute terms, for latents that are all equal."""

Maps = Float[Tensor, "b z i j"]
"""Latents of images."""


@dataclass(frozen=True, eq=False)
class LatentColors:
    """A linear map from the channels of latents to RGB in [-1, 1]."""

    weights: Float[Tensor, "z 3"]
    offset: Float[Tensor, "3"]

    @classmethod
    def fit(cls, latents: Maps, images: Images) -> "LatentColors":
        """The map with the smallest squared error for latents (b, z, i, j) of images (b, 3, h, w) in [-1, 1]."""
        positions = latents.double().movedim(1, -1).flatten(0, -2)
        averages = F.adaptive_avg_pool2d(images.double().clamp(-1, 1), (latents.shape[2], latents.shape[3]))
        colors = averages.movedim(1, -1).flatten(0, -2)
        mean, offset = positions.mean(dim=0), colors.mean(dim=0)
        centered = positions - mean
        products = centered.T @ centered
        products.diagonal().add_(RIDGE * products.diagonal().mean() + TINY)
        weights = torch.linalg.solve(products, centered.T @ (colors - offset))
        return cls(weights.float(), (offset - mean @ weights).float())

    def after(self, scale: Tensor, shift: Tensor) -> "LatentColors":
        """The map for x of which this one takes (x - shift) * scale, with one value for each channel."""
        scale, shift = (values.to(self.weights) for values in (scale, shift))
        weights = self.weights * scale[:, None]
        return LatentColors(weights, self.offset - shift @ weights)

    def __call__(self, latents: Maps) -> Images:
        """Latents (b, z, i, j) -> images (b, 3, i, j) in [-1, 1]."""
        colors = torch.einsum("bzij,zc->bcij", latents.float().cpu(), self.weights)
        return (colors + self.offset[:, None, None]).clamp(-1, 1)


def calmed(latents: Tensor, std: float = 1.0) -> Tensor:
    """Latents (b, ...) scaled down to a standard deviation, each item by itself; those below it are not changed.

    What a diffusion model holds at first is mostly noise, of which some samplers have more than a decoder expects.
    """
    values = latents.float()
    spread = values.flatten(1).std(dim=1).clamp_min(std) / std
    return values / spread.view(-1, *[1] * (values.dim() - 1))
