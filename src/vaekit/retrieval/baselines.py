"""Simple embeddings without a VAE, to which others are compared: pixels, color histograms, principal components."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.retrieval.embedding import Embedding, Vectors, unit_vectors
from vaekit.retrieval.latent_encoder import at_size
from vaekit.shapes import Images, Items

SIDE = 32
"""Larger images are reduced to this side for pixels and their principal components."""
BINS = 8
"""Levels per channel of the joint histogram of colors."""
COMPONENTS = 64
"""Principal components."""


@dataclass(frozen=True)
class Pixels:
    """The values of an item; of images, those at a side of 32 at most."""

    dimension: int
    identity: Mapping[str, Any] = field(default_factory=lambda: {"embedding": "pixels", "side": SIDE})

    def __call__(self, x: Items) -> Vectors:
        return unit_vectors(flat(x), "The values")


@dataclass(frozen=True)
class Histogram:
    """The joint histogram of 8 x 8 x 8 colors of an image, or of 8 levels of each channel if it has not three; the
    square root of its shares, so that the dot product is the Bhattacharyya coefficient."""

    channels: int

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"embedding": "histogram", "bins": BINS, "channels": self.channels}

    @property
    def dimension(self) -> int:
        return BINS**3 if self.channels == 3 else BINS * self.channels

    def __call__(self, x: Images) -> Vectors:
        levels = ((x.float() + 1) / 2 * BINS).nan_to_num().clamp(0, BINS - 1).long().flatten(2)  # (b, c, pixels)
        if self.channels == 3:
            bins = (levels * torch.tensor([BINS * BINS, BINS, 1]).view(1, 3, 1)).sum(dim=1)
        else:
            bins = (levels + BINS * torch.arange(self.channels).view(1, -1, 1)).flatten(1)
        counts = torch.zeros(len(x), self.dimension).scatter_add_(1, bins, torch.ones(bins.shape))
        return unit_vectors((counts / counts.sum(dim=1, keepdim=True)).sqrt(), "The histogram")


@dataclass(frozen=True, eq=False)
class Components:
    """The first principal components of the values of items, see `fit_components`."""

    mean: Float[Tensor, "f"]
    vectors: Float[Tensor, "f d"]
    identity: Mapping[str, Any] = field(default_factory=lambda: {"embedding": "pca", "side": SIDE})

    @property
    def dimension(self) -> int:
        return self.vectors.shape[1]

    def __call__(self, x: Items) -> Vectors:
        return unit_vectors((flat(x) - self.mean) @ self.vectors, "The principal components")


def fit_components(x: Items) -> Components:
    """Principal components of the values of items (n, ...): 64, or as many as there are."""
    values = flat(x)
    mean = values.mean(dim=0)
    count = min(COMPONENTS, *values.shape)
    _, _, vectors = torch.pca_lowrank(values - mean, q=min(count + 8, *values.shape), center=False, niter=4)
    return Components(mean, vectors[:, :count])


def baselines_for(x: Items) -> dict[str, Embedding]:
    """The baselines for items like these (n, ...), by name. Principal components are fitted to them."""
    named: dict[str, Embedding] = {"pixels": Pixels(flat(x[:1]).shape[1])}
    if x.dim() == 4:
        named["histogram"] = Histogram(x.shape[1])
    return named | {"pca": fit_components(x)}


def flat(x: Items) -> Float[Tensor, "b f"]:
    """The values of items (b, ...), float32, with 0 for missing ones; images are reduced to a side of 32 at most."""
    values = x.float().where(~x.isnan(), 0)
    if x.dim() == 4 and max(x.shape[2:]) > SIDE:
        values = at_size(values, (SIDE, SIDE))
    return values.flatten(1)
