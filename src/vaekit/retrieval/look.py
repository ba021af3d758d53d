"""`look`: the latents of an item as one vector.

An image is encoded twice, as a whole: at 32x32, and at 64x64 (at 4 and 8 latent positions per axis, for VAEs of a
factor above 8). Three parts are computed of z channels, scaled to unit length, weighted and joined:

- layout: the latents of the small size, averaged to 4x4 positions: 16 z values;
- contrast: the logarithm of the standard deviation of each channel around each of 6x6 places of the large size: 36 z
  values. It describes texture without its exact position, and thereby tolerates crops;
- colors: the latents of the large size, averaged around 3x3 places: 9 z values.

Places near the edges, which crops change most, have less weight.

The parts and weights were chosen by measurement: `docs/search.md` shows how they find near-duplicates of images
that they were not chosen on. VAEs of images of one size and VAEs of other domains give their whole latent instead; maps
are averaged to 8 positions per axis.

The dot product of two vectors compares what is where in two images: colors, layout and texture. It finds
near-duplicates and similar views rather than things of the same kind.
"""

import math
from collections.abc import Callable, Mapping
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
LAYOUT, CONTRAST, COLORS = 4, 6, 3
"""Places along each axis of the three parts."""
WEIGHTS = {"layout": 1.0, "contrast": 1.5, "colors": 0.5}
"""Weights of their dot products."""
OFFSET, USUAL = 0.1, 0.5
"""Added to standard deviations before the logarithm; and their sum where the logarithm is 0. Normalized latents have a
standard deviation of about 1 in a whole image."""
EDGE = 0.4
"""The weight of a place is exp(-EDGE (x^2 + y^2)) for x and y from -1 to 1."""
WIDTH = 0.5
"""The standard deviation of the window around a place, in distances of places."""
MOST_POSITIONS = 8
"""Positions along each axis of other maps."""
POOLS: tuple[Callable[..., Tensor], ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
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
        weighted = [WEIGHTS[name] ** 0.5 * unit_vectors(inner(part).flatten(1), SOURCE) for name, part in parts.items()]
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


def around_places(z: Latents, count: int) -> Float[Tensor, "b z {count} {count}"]:
    """Averages of latents around count x count places, weighted by a Gaussian window."""
    rows, columns = (windows(extent, count) for extent in z.shape[2:])
    return rows @ z @ columns.T


def local_contrast(z: Latents) -> Float[Tensor, "b z rows columns"]:
    """log((0.1 + standard deviation) / 0.5) of latents around 6x6 places, weighted by the same window."""
    mean = around_places(z, CONTRAST)
    variance = around_places(z.square(), CONTRAST) - mean.square()
    return ((variance.clamp(min=0).sqrt() + OFFSET) / USUAL).log()


def inner(z: Latents) -> Latents:
    """Latents with less weight near the edges."""
    rows, columns = ((-EDGE * places(extent).square()).exp() for extent in z.shape[2:])
    return z * rows.unsqueeze(1) * columns


def places(count: int) -> Float[Tensor, "count"]:
    """The centers of equal parts of the interval from -1 to 1."""
    return (torch.arange(count) + 0.5) / count * 2 - 1


def windows(positions: int, count: int) -> Float[Tensor, "count positions"]:
    """Gaussian weights of positions around each place; each row has the sum 1."""
    distances = (places(positions) - places(count).unsqueeze(1)) * count / 2
    weights = (-0.5 * (distances / WIDTH).square()).exp()
    return weights / weights.sum(dim=1, keepdim=True)
