"""`look`: the latents of an item as one vector.

An image is encoded twice, as a whole: at 32x32, and at 64x64 (at 4 and 8 latent positions per axis, for VAEs of a
factor above 8). Three parts are scaled to unit length, weighted and joined:

- layout: the latents of the small size, averaged to 4x4 positions: 16 z values for z channels;
- contrast: the logarithm of the standard deviation of each channel around each of 4x4 places of the large size, 16 z
  values. It has the texture without its exact position, which tolerates crops;
- colors: the latents of the large size, averaged around 3x3 places: 9 z values.

The parts and weights were chosen by measurement: `docs/latent-space.md` shows how they find near-duplicates of images
that they were not chosen on. VAEs of images of one size and VAEs of other domains give their whole latent instead; maps
are averaged to 8 positions per axis.

The dot product of two vectors compares what is where in two images: colors, layout and texture. It finds
near-duplicates and similar views rather than things of the same kind.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.shapes import AnyLatents, Items, Latents

SMALL, LARGE = (32, 4), (64, 8)
"""The minimum of pixels and of latent positions of each side at which whole images are encoded."""
LAYOUT, CONTRAST, COLORS = 4, 4, 3
"""Places along each axis of the three parts."""
WEIGHTS = {"layout": 1.0, "contrast": 2.0, "colors": 0.5}
"""Weights of their dot products."""
OFFSET = 0.1
"""Added to standard deviations, of which the logarithm is taken; normalized latents have about 1."""
WIDTH = 0.5
"""The standard deviation of the window around a place, in distances of places."""
MOST_POSITIONS = 8
"""Positions along each axis of other maps."""
POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
SOURCE = "The latent"
"""What vectors are computed from, for messages."""


@dataclass(frozen=True, eq=False)
class Look:
    """Latents as vectors."""

    encoder: LatentEncoder

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {"embedding": "look", "version": 1, "vae": self.encoder.origin.fingerprint}

    @cached_property
    def dimension(self) -> int:
        channels = self.encoder.engine.geometry.latent_channels
        if self.encoder.takes_any_size:
            small, _ = self._sides
            layout = math.prod(layout_size(self.encoder.latent_shape(small) or ()))
            return channels * (layout + CONTRAST**2 + COLORS**2)
        return channels * math.prod(self._other_size)

    def __call__(self, x: Items) -> Vectors:
        """Embed items (b, ...), see `Embedding`."""
        if not self.encoder.takes_any_size:
            return unit_vectors(averaged(self.encoder(x), self._other_size).flatten(1), SOURCE)
        small, large = (self.encoder(x, side) for side in self._sides)
        parts = {
            "layout": averaged(small, layout_size(tuple(small.shape[1:]))),
            "contrast": local_contrast(large),
            "colors": around_places(large, COLORS),
        }
        weighted = [WEIGHTS[name] ** 0.5 * unit_vectors(part.flatten(1), SOURCE) for name, part in parts.items()]
        return unit_vectors(torch.cat(weighted, dim=1), SOURCE)

    @property
    def _sides(self) -> tuple[int, int]:
        """The sides at which whole images are encoded."""
        factor = max(self.encoder.engine.geometry.factors)
        return max(SMALL[0], SMALL[1] * factor), max(LARGE[0], LARGE[1] * factor)

    @property
    def _other_size(self) -> tuple[int, ...]:
        """The number of positions in the vector of a VAE that takes items of one size, or items other than images."""
        shape = self.encoder.latent_shape()
        extents = [MOST_POSITIONS] * self.encoder.engine.geometry.axes if shape is None else shape[1:]
        return tuple(min(extent, MOST_POSITIONS) for extent in extents)


def layout_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The number of positions of the layout of a latent of this shape, channels first."""
    return tuple(min(extent, LAYOUT) for extent in shape[1:])


def averaged(z: AnyLatents, size: tuple[int, ...]) -> AnyLatents:
    """Latents (b, z, ...) averaged to a number of positions along each axis."""
    return POOLS[len(size) - 1](z, size) if size and tuple(z.shape[2:]) != size else z


def around_places(z: Latents, places: int) -> Latents:
    """Averages of latents around places x places, weighted by a Gaussian window."""
    rows, columns = (windows(extent, places) for extent in z.shape[2:])
    return rows @ z @ columns.T


def local_contrast(z: Latents) -> Latents:
    """log(0.1 + standard deviation) of latents around 4x4 places, weighted by the same window."""
    mean = around_places(z, CONTRAST)
    variance = around_places(z.square(), CONTRAST) - mean.square()
    return (variance.clamp(min=0).sqrt() + OFFSET).log()


def windows(positions: int, places: int) -> Float[Tensor, "places positions"]:
    """Gaussian weights of positions around each place; each row has the sum 1."""
    centers = (torch.arange(places) + 0.5) / places
    distances = ((torch.arange(positions) + 0.5) / positions - centers.unsqueeze(1)) * places
    weights = (-0.5 * (distances / WIDTH).square()).exp()
    return weights / weights.sum(dim=1, keepdim=True)
