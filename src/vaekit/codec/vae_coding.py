"""The distributions of a VAE on cells, for bits-back coding."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.bits_back import LatentPrior, Steps
from vaekit.codec.cells import Cells
from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.latents import Latents, latents_of
from vaekit.codec.level_cells import Levels, level_cells
from vaekit.codec.types import Integers
from vaekit.distributions import Likelihood, Subscale
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
class LatentCoding:
    """The distributions of latents of a VAE, which are the same for all kinds of items; see `Coding`."""

    vae: VAE
    """In double precision."""
    grid: LatentGrid
    """The values of continuous latents."""
    latent_shape: tuple[int, ...]
    """Of an item."""

    @cached_property
    def latents(self) -> Latents:
        """How latents are coded."""
        return latents_of(self.vae, self.grid, self.latent_shape)

    @property
    def prior(self) -> LatentPrior:
        return self.latents.prior

    def posterior(self, x: Tensor) -> Cells | None:
        return self.latents.posterior(x)

    def mode(self, x: Tensor) -> Integers:
        return self.latents.mode(x)

    def conditional(self, latent: Integers, batch: int) -> Likelihood:
        """p(x|z) for the cells of latents."""
        return self.vae.likelihood(self.latents.values(latent, batch))


@dataclass(frozen=True)
class LevelCoding(LatentCoding):
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
        if isinstance(found, Subscale):
            return PartByPart(found, self.levels)
        if found.mode.shape[1:] != self.item_shape:
            raise BadPlan(
                f"This VAE decodes items of {list(found.mode.shape[1:])} from those of {list(self.item_shape)}.",
                "Lossless compression needs the same size.",
                "Train a VAE whose sizes are multiples of what it downsamples by.",
            )
        return AtOnce(found, self.levels)
