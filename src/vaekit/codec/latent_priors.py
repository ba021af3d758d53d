"""Priors over latents on cells: independent ones, mixtures, and flows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.cells import Cells
from vaekit.codec.coder import PRIOR, Coder, part
from vaekit.codec.latent_cells import GaussianCells, LatentGrid, standard_cells
from vaekit.codec.probability_cells import ProbabilityCells
from vaekit.codec.types import Integers
from vaekit.distributions import GaussianMixture
from vaekit.nets.priors import Coupling, Flow

NOISE_CELLS = 8
"""The standard deviation of the noise of flows, in cells."""


@dataclass(frozen=True)
class Independent:
    """Independent latents."""

    cells: Callable[[int], Cells]
    """Of a number of items."""

    def push(self, coder: Coder, latent: Integers, batch: int) -> None:
        coder.push(self.cells(batch), latent, part(PRIOR))

    def pop(self, coder: Coder, batch: int) -> Integers:
        return coder.pop(self.cells(batch), part(PRIOR))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians. The component k of each item is a further latent: it is taken from the stack by p(k|z),
    then z is pushed by the component, and k by its weight: all in all the bits of p(z) = p(k) p(z|k) / p(k|z).
    """

    grid: LatentGrid
    mean: Tensor
    """(K, n), in double precision."""
    std: Tensor
    """(K, n)."""
    log_weights: Tensor
    """(K,)."""

    @classmethod
    def of(cls, grid: LatentGrid, prior: GaussianMixture) -> "Mixture":
        """The mixture on a grid."""
        mean, log_variance, log_weights = (
            each.detach().double() for each in (prior.mean, prior.log_variance, prior.log_weights)
        )
        return cls(grid, mean.flatten(1), torch.exp(0.5 * log_variance).flatten(1), log_weights)

    def push(self, coder: Coder, latent: Integers, batch: int) -> None:
        component = coder.pop(self._given(latent, batch), part(PRIOR, 2), wide=True)
        coder.push(self._latents(component), latent, part(PRIOR, 1))
        coder.push(self._components(batch), component, part(PRIOR))

    def pop(self, coder: Coder, batch: int) -> Integers:
        component = coder.pop(self._components(batch), part(PRIOR))
        latent = coder.pop(self._latents(component), part(PRIOR, 1))
        coder.push(self._given(latent, batch), component, part(PRIOR, 2), wide=True)
        return latent

    def _components(self, batch: int) -> Cells:
        return ProbabilityCells.of(self.log_weights.expand(batch, -1))

    def _latents(self, component: Integers) -> Cells:
        chosen = torch.from_numpy(component)
        return GaussianCells(self.grid, self.mean[chosen].flatten(), self.std[chosen].flatten())

    def _given(self, latent: Integers, batch: int) -> Cells:
        """p(k|z), by densities; components have the variance of a cell in addition, as they may be narrower."""
        z = self.grid.values(latent).view(batch, -1)
        variance = self.std.square() + self.grid.step**2 / 12
        log_p = [(-0.5 * ((each - self.mean).square() / variance + variance.log())).sum(dim=1) for each in z]
        return ProbabilityCells.of(torch.stack(log_p) + self.log_weights)


@dataclass(frozen=True, eq=False)
class FlowPrior:
    """N(0, 1) transformed by affine couplings. Latents become noise layer by layer, with local bits-back coding (Ho et
    al. 2019, arXiv 1905.08500): the image y = (z - shift) / scale of a value z is not on the grid. So a value y' near
    to it is taken from the stack, by N(y, std^2 / scale), and z is pushed by N(scale y' + shift, std^2 scale). These
    are log2(scale) bits, the Jacobian's, up to the width of a cell.
    """

    grid: LatentGrid
    flow: Flow
    """In double precision."""
    dimensions: int

    def push(self, coder: Coder, latent: Integers, batch: int) -> None:
        h = latent.reshape(batch, -1)
        for number, coupling in enumerate(self.flow.layers):
            kept, changed = h[:, : coupling.first], h[:, coupling.first :]
            forwards, backwards = self._couple(coupling, kept)
            found = coder.pop(forwards(changed), part(PRIOR, 2 * number + 1))
            coder.push(backwards(found), changed.flatten(), part(PRIOR, 2 * number + 2))
            h = np.concatenate([kept, found.reshape(changed.shape)], axis=1)[:, ::-1]
        coder.push(self._noise(batch), np.ascontiguousarray(h).flatten(), part(PRIOR))

    def pop(self, coder: Coder, batch: int) -> Integers:
        h = coder.pop(self._noise(batch), part(PRIOR)).reshape(batch, -1)
        for number, coupling in reversed(list(enumerate(self.flow.layers))):
            h = np.ascontiguousarray(h[:, ::-1])
            kept, found = h[:, : coupling.first], h[:, coupling.first :]
            forwards, backwards = self._couple(coupling, kept)
            changed = coder.pop(backwards(found), part(PRIOR, 2 * number + 2)).reshape(found.shape)
            coder.push(forwards(changed), found.flatten(), part(PRIOR, 2 * number + 1))
            h = np.concatenate([kept, changed], axis=1)
        return h.flatten()

    def _noise(self, batch: int) -> Cells:
        return standard_cells(self.grid, batch * self.dimensions)

    @torch.no_grad()
    def _couple(
        self, coupling: Coupling, kept: Integers
    ) -> tuple[Callable[[Integers], Cells], Callable[[Integers], Cells]]:
        """The distributions of noise given latents, and of latents given noise, for the kept values (b, first)."""
        shift, log_scale = coupling.shift_and_log_scale(self._values(kept))
        std = NOISE_CELLS * self.grid.step

        def forwards(changed: Integers) -> Cells:
            mean = (self._values(changed) - shift) * torch.exp(-log_scale)
            return GaussianCells(self.grid, mean.flatten(), (std * torch.exp(-log_scale / 2)).flatten())

        def backwards(found: Integers) -> Cells:
            mean = self._values(found.reshape(shift.shape)) * torch.exp(log_scale) + shift
            return GaussianCells(self.grid, mean.flatten(), (std * torch.exp(log_scale / 2)).flatten())

        return forwards, backwards

    def _values(self, cells: Integers) -> Tensor:
        return self.grid.values(np.ascontiguousarray(cells).flatten()).view(cells.shape)


def noise_reach(flow: Flow, latents: Tensor) -> float:
    """The largest absolute value between the layers of a flow, for latents (b, ...)."""
    h, reach = latents.double().flatten(1), 0.0
    for coupling in flow.layers:
        h = coupling(h)[0].flip(1)
        reach = max(reach, float(h.abs().max()))
    return reach
