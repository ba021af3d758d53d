"""The latents of a VAE on cells: Gaussian ones on a grid, with any prior that the toolkit has, and codes."""

from dataclasses import dataclass
from math import prod
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.bits_back import LatentPrior
from vaekit.codec.cells import MOST_CELLS, Cells
from vaekit.codec.latent_cells import REACH, LatentGrid, posterior_cells, standard_cells
from vaekit.codec.latent_priors import NOISE_CELLS, FlowPrior, Independent, Mixture, noise_reach
from vaekit.codec.probability_cells import ProbabilityCells, UniformCells
from vaekit.codec.types import Integers
from vaekit.distributions import (
    Choices,
    DiagonalGaussian,
    GaussianMixture,
    Posterior,
    Quantized,
    StandardNormal,
    UniformCodes,
)
from vaekit.errors import BadPlan
from vaekit.nets.priors import Flow
from vaekit.nets.quantizers import ResidualQuantizer
from vaekit.shapes import Codes
from vaekit.vae import VAE

FLOW_NOISE = 1 / 16
"""The largest standard deviation of the noise of flows."""
NO_CELLS = LatentGrid(1.0, -1, 2)
"""In the place of a grid, for latents that need none."""


@runtime_checkable
class Latents(Protocol):
    """How the latents of a VAE are coded. `posterior` and `mode` raise BadPlan if they are not such latents."""

    @property
    def prior(self) -> LatentPrior:
        """p(z)."""

    def posterior(self, x: Tensor) -> Cells | None:
        """q(z|x) of items (b, ...); None if items determine their latents."""

    def mode(self, x: Tensor) -> Integers:
        """The cells with the most probable latents, (n,)."""

    def values(self, cells: Integers, batch: int) -> Tensor:
        """The raw latents (b, z, ...) of cells (n,)."""


@runtime_checkable
class CodesHead(Protocol):
    """A posterior head with codes, such as a vector quantizer."""

    size: int
    """The number of codes of each choice."""

    @property
    def choices(self) -> int:
        """Codes at each position."""

    def embed(self, codes: Codes) -> Tensor:
        """Codes -> raw latents."""


@dataclass(frozen=True, eq=False)
class GaussianLatents:
    """A Gaussian posterior on a grid."""

    vae: VAE
    grid: LatentGrid
    shape: tuple[int, ...]
    """Of the latents of an item."""
    prior: LatentPrior

    @torch.no_grad()
    def posterior(self, x: Tensor) -> Cells:
        return posterior_cells(gaussian(self.vae, x), self.grid)

    @torch.no_grad()
    def mode(self, x: Tensor) -> Integers:
        return self.grid.nearest(gaussian(self.vae, x).mean)

    def values(self, cells: Integers, batch: int) -> Tensor:
        return self.grid.values(cells).view(batch, *self.shape)


@dataclass(frozen=True, eq=False)
class CodeLatents:
    """Codes with a uniform prior. Items determine those of a quantizer, which thus cost log2 K bits each; a categorical
    posterior gets its bits back."""

    vae: VAE
    head: CodesHead
    shape: tuple[int, ...]
    """Of the codes of an item."""

    @property
    def prior(self) -> LatentPrior:
        return Independent(lambda batch: UniformCells(batch * prod(self.shape), self.head.size))

    @torch.no_grad()
    def posterior(self, x: Tensor) -> Cells | None:
        found = encoded(self.vae, x)
        if not isinstance(found, Choices):
            return None
        return ProbabilityCells.of(found.log_probabilities.movedim(1, -1).flatten(0, -2))

    @torch.no_grad()
    def mode(self, x: Tensor) -> Integers:
        found = encoded(self.vae, x)
        if not isinstance(found, Choices | Quantized):
            raise unsupported(f"a posterior of the kind {type(found).__name__}")
        return found.codes.flatten().numpy().astype(np.int64)

    @torch.no_grad()
    def values(self, cells: Integers, batch: int) -> Tensor:
        return self.head.embed(torch.from_numpy(cells).view(batch, *self.shape)).double()


def latents_of(vae: VAE, grid: LatentGrid, shape: tuple[int, ...]) -> Latents:
    """The latents of a VAE in double precision.

    Args:
        vae: the VAE.
        grid: the values of continuous latents.
        shape: of the raw latents of an item, (z, ...).

    Raises:
        BadPlan: it has latents or a prior that cannot be coded.
    """
    head: object = vae.to_posterior
    if isinstance(head, CodesHead):
        return CodeLatents(vae, head, _shape_of_codes(vae, head, shape))
    return GaussianLatents(vae, grid, shape, _prior(vae, grid, prod(shape)))


@torch.no_grad()
def latent_grid(vae: VAE, x: Tensor) -> LatentGrid:
    """A grid for the latents of items like these.

    Args:
        vae: in double precision.
        x: items (b, ...).

    Raises:
        BadPlan: it has latents that cannot be coded.
    """
    head: object = vae.to_posterior
    if isinstance(head, CodesHead):
        return NO_CELLS
    posterior = gaussian(vae, x)
    if flow := _flow(vae):
        reach = max(REACH, 1.25 * noise_reach(flow, posterior.mean) + 1)
        return LatentGrid.of(posterior, reach, FLOW_NOISE / NOISE_CELLS)
    return LatentGrid.of(posterior)


def gaussian(vae: VAE, x: Tensor) -> DiagonalGaussian:
    """The posterior of items in double precision, or of tokens.

    Raises:
        BadPlan: it is not Gaussian.
    """
    posterior = encoded(vae, x)
    if not isinstance(posterior, DiagonalGaussian):
        raise unsupported(f"a posterior of the kind {type(posterior).__name__}")
    return posterior


def encoded(vae: VAE, x: Tensor) -> Posterior:
    """q(z|x) in double precision; tokens are integers."""
    return vae.encode(x.double() if x.is_floating_point() else x)


def unsupported(what: str) -> BadPlan:
    """The error for a VAE whose latents cannot be coded."""
    return BadPlan(
        f"This VAE has {what}, which lossless compression does not support.",
        "Expected a Gaussian posterior with a prior that is standard, a mixture, vamp or a flow; or codes.",
        "Train a VAE with `posterior.kind = gaussian`: the recipe codec-mnist does.",
    )


def _prior(vae: VAE, grid: LatentGrid, dimensions: int) -> LatentPrior:
    if flow := _flow(vae):
        return FlowPrior(grid, flow, dimensions)
    with torch.no_grad():
        prior = vae.prior
    match prior:
        case StandardNormal():
            return Independent(lambda batch: standard_cells(grid, batch * dimensions))
        case GaussianMixture():
            return Mixture.of(grid, prior)
        case None:
            raise unsupported("no prior")
    raise unsupported(f"a prior of the kind {type(prior).__name__}")


def _flow(vae: VAE) -> Flow | None:
    """The network of the prior, if it is a flow."""
    prior: object = vae.to_prior
    return prior if isinstance(prior, Flow) else None


def _shape_of_codes(vae: VAE, head: CodesHead, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the codes of an item, whose raw latents have a shape (z, positions...).

    Raises:
        BadPlan: the prior is not uniform, or there are too many codes.
    """
    prior = vae.prior
    if not isinstance(prior, UniformCodes):
        raise unsupported(f"codes with a prior of the kind {type(prior).__name__}")
    if head.size > MOST_CELLS:
        raise unsupported(f"{head.size:,} codes")
    return (head.choices, *shape[1:]) if isinstance(head, ResidualQuantizer) else shape[1:]
