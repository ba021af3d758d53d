"""`look`: the latents of an item as one vector.

Whole images are encoded at two sizes, 32x32 and 64x64, of which the small one tolerates crops and the large one has the
details; the latents of each size are scaled to unit length and joined. So every vector of a VAE of factor 8 and z
channels has 16 z + 64 z values; of finer maps, averages of 8x8 areas are taken. VAEs of images of one size are given
that size, and items of other domains are encoded as they are: their whole latent is the vector.

The dot product of two vectors compares what is where in two images: colors, layout and texture. It finds near-duplicates
and similar views, not the same kind of thing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaekit.retrieval.embedding import Vectors, unit_vectors
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.shapes import AnyLatents, Items

SIDES = (32, 64)
"""The sides at which whole images are encoded."""
MOST_POSITIONS = 8
"""Positions along each axis of a map in a vector."""
SOURCE = "The latent"
"""What vectors are made from, for messages."""
POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


@dataclass(frozen=True, eq=False)
class Look:
    """Latents as vectors."""

    encoder: LatentEncoder

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        return {"embedding": "look", "version": 1, "vae": self.encoder.origin.fingerprint, "sides": list(self.sides)}

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides at which images are encoded; empty for VAEs of items of one size, and for other items."""
        return SIDES if self.encoder.takes_any_size else ()

    @cached_property
    def dimension(self) -> int:
        return sum(math.prod(self._pooled_shape(side)) for side in self.sides or SIDES[:1])

    def __call__(self, x: Items) -> Vectors:
        """Embed items (b, ...), see `Embedding`."""
        parts = [pooled(self.encoder(x, side), self._pooled_shape(side)[1:]) for side in self.sides or SIDES[:1]]
        return unit_vectors(torch.cat([unit_vectors(part, SOURCE) for part in parts], dim=1), SOURCE)

    def _pooled_shape(self, side: int) -> tuple[int, ...]:
        """The shape of a latent after pooling."""
        geometry, shape = self.encoder.engine.geometry, self.encoder.latent_shape(side)
        channels, *extents = shape or (geometry.latent_channels, *[MOST_POSITIONS] * geometry.axes)
        return (channels, *(min(extent, MOST_POSITIONS) for extent in extents))


def pooled(z: AnyLatents, size: tuple[int, ...]) -> Tensor:
    """Latents (b, z, ...) averaged to a size, as vectors."""
    if size and tuple(z.shape[2:]) != size:
        z = POOLS[len(size) - 1](z, size)
    return z.flatten(1)
