"""Cells of latents: a grid of values, and the probabilities of posteriors and priors on it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaekit.codec.cells import Cells
from vaekit.codec.types import Integers
from vaekit.distributions import DiagonalGaussian
from vaekit.errors import BadPlan

PER_STD = 4
"""Cells per standard deviation of the narrowest posteriors. The cost of cells as wide as w standard deviations is about
w^2 / 24 nats per value."""
MOST_CELLS = 2**16
"""Of a grid."""
REACH = 6.0
"""Standard deviations of a posterior that are on the grid."""


@dataclass(frozen=True)
class LatentGrid:
    """The values of a latent that are coded: the middles of cells of equal width. The first and the last one also have
    what is beyond them."""

    step: float
    """The width of a cell, a power of two."""
    first: int
    """The lower edge of the first cell, in steps."""
    cells: int
    """Their number."""

    @classmethod
    def of(cls, posterior: DiagonalGaussian, reach: float = REACH, step: float = 1.0) -> "LatentGrid":
        """A grid that is fine and wide enough for posteriors, as far as `MOST_CELLS` go.

        Args:
            posterior: of typical items.
            reach: the least value that is on the grid; the default is for N(0, 1).
            step: the largest width of a cell.

        Raises:
            BadPlan: the posterior is not finite.
        """
        std = posterior.std.double()
        narrow = float(std.flatten().kthvalue(1 + std.numel() // 100).values)
        reach = max(reach, float((posterior.mean.double().abs() + REACH * std).max()))
        if not (math.isfinite(reach) and narrow > 0):
            raise BadPlan("The latents of this VAE are not finite.", "", "Its weights are damaged, or it diverged.")
        step = min(step, 2.0 ** np.floor(np.log2(narrow / PER_STD)))
        step = max(step, 2.0 ** np.ceil(np.log2(2 * reach / (MOST_CELLS - 2))))
        edge = int(np.ceil(reach / step))
        return cls(float(step), -edge, 2 * edge)

    def values(self, cells: Integers) -> Tensor:
        """The values of cells (n,), exactly."""
        return (torch.from_numpy(cells).double() + (self.first + 0.5)) * self.step

    def nearest(self, values: Tensor) -> Integers:
        """The cells of values, flattened (n,)."""
        numbers = torch.floor(values.double().flatten() / self.step) - self.first
        return numbers.clamp(0, self.cells - 1).long().cpu().numpy()

    def edges(self, cells: Tensor) -> Tensor:
        """The lower edges of cells (n,)."""
        return (cells.double() + self.first) * self.step


@dataclass(frozen=True)
class GaussianCells:
    """Independent Gaussian variables on a grid."""

    grid: LatentGrid
    mean: Tensor
    """(n,), in double precision."""
    std: Tensor
    """(n,)."""

    @property
    def counts(self) -> Integers:
        return np.full(len(self.mean), self.grid.cells, dtype=np.int64)

    def cumulative(self, edges: Tensor, chosen: Tensor) -> Tensor:
        return torch.special.ndtr((self.grid.edges(edges) - self.mean[chosen]) / self.std[chosen])


def posterior_cells(posterior: DiagonalGaussian, grid: LatentGrid) -> Cells:
    """Of the latents (b, ...) of a batch."""
    return GaussianCells(grid, posterior.mean.double().flatten(), posterior.std.double().flatten())


def standard_cells(grid: LatentGrid, variables: int) -> Cells:
    """Of N(0, 1)."""
    zeros = torch.zeros(variables, dtype=torch.float64)
    return GaussianCells(grid, zeros, torch.ones_like(zeros))
