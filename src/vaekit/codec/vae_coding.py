"""The distributions of a VAE on cells, for bits-back coding."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.bits_back import Steps
from vaekit.codec.cells import Cells
from vaekit.codec.latent_cells import LatentGrid, posterior_cells, standard_cells
from vaekit.codec.level_cells import Levels, level_cells
from vaekit.codec.types import Integers
from vaekit.distributions import DiagonalGaussian, Likelihood, StandardNormal, Subscale
from vaekit.errors import BadPlan
from vaekit.vae import VAE


@dataclass(frozen=True)
class AtOnce:
    """All elements of items in one step."""

    likelihood: Likelihood
    levels: Levels

    def cells(self, before: Sequence[Integers]) -> Cells | None:
        return None if before else level_cells(self.likelihood, self.levels)

    def divide(self, x: Tensor) -> list[Integers]:
        return [self.levels.cells(x)]

    def join(self, values: Sequence[Integers]) -> Tensor:
        return self.levels.values(values[0]).view(self.likelihood.mode.shape)


@dataclass(frozen=True)
class PartByPart:
    """A step for each part of items."""

    likelihood: Subscale
    levels: Levels

    @torch.no_grad()
    def cells(self, before: Sequence[Integers]) -> Cells | None:
        if len(before) == self.likelihood.parts:
            return None
        known = [each.double() for each in self._parts(before)]
        return level_cells(self.likelihood.model.part(self.likelihood.context, known), self.levels)

    def divide(self, x: Tensor) -> list[Integers]:
        return [self.levels.cells(part) for part in self.likelihood.model.divide(x)]

    def join(self, values: Sequence[Integers]) -> Tensor:
        return self.likelihood.model.join(self._parts(values))

    def _parts(self, values: Sequence[Integers]) -> list[Tensor]:
        context = self.likelihood.context
        return [self.levels.values(each).view(len(context), -1, *context.shape[2:]) for each in values]


@dataclass(frozen=True)
class GaussianCoding:
    """The distributions of latents of a VAE with Gaussian posteriors and the prior N(0, 1); see `Coding`."""

    vae: VAE
    """In double precision."""
    grid: LatentGrid
    """The values of latents."""
    latent_shape: tuple[int, ...]
    """Of an item."""

    @torch.no_grad()
    def posterior(self, x: Tensor) -> Cells:
        return posterior_cells(gaussian(self.vae, x), self.grid)

    @torch.no_grad()
    def mode(self, x: Tensor) -> Integers:
        return self.grid.nearest(gaussian(self.vae, x).mean)

    def prior(self, batch: int) -> Cells:
        return standard_cells(self.grid, batch * prod(self.latent_shape))

    def conditional(self, latent: Integers, batch: int) -> Likelihood:
        """p(x|z) for the cells of latents."""
        return self.vae.likelihood(self.grid.values(latent).view(batch, *self.latent_shape))


@dataclass(frozen=True)
class LevelCoding(GaussianCoding):
    """A VAE of data on levels."""

    levels: Levels
    item_shape: tuple[int, ...]

    def canonical(self, x: Tensor) -> Tensor:
        return self.levels.nearest(x)

    def plain(self, x: Tensor) -> bytes:
        return self.levels.cells(x).astype("<u2" if self.levels.count > 256 else np.uint8).tobytes()

    def from_plain(self, content: bytes, items: int) -> Tensor:
        cells = np.frombuffer(content, "<u2" if self.levels.count > 256 else np.uint8).astype(np.int64)
        if len(cells) != items * prod(self.item_shape) or (len(cells) and cells.max() >= self.levels.count):
            raise ValueError("the items have other sizes")
        return self.levels.values(cells).view(items, *self.item_shape)

    @torch.no_grad()
    def likelihood(self, latent: Integers, batch: int) -> Steps:
        found = self.conditional(latent, batch)
        return PartByPart(found, self.levels) if isinstance(found, Subscale) else AtOnce(found, self.levels)


def gaussian(vae: VAE, x: Tensor) -> DiagonalGaussian:
    """The posterior of items in double precision, or of tokens.

    Raises:
        BadPlan: it is not Gaussian, or the prior is not N(0, 1).
    """
    posterior = vae.encode(x.double() if x.is_floating_point() else x)
    if not isinstance(posterior, DiagonalGaussian) or not isinstance(vae.prior, StandardNormal):
        raise BadPlan(
            "This VAE has another posterior or prior than lossless compression supports.",
            "Expected a Gaussian posterior and a standard normal prior.",
            "Train a VAE with `posterior.kind = gaussian` and no learned prior: the recipe codec-mnist does.",
        )
    return posterior
