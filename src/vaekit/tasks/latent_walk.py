"""Search the latent space around items for a better value of a property."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from vaekit.errors import BadItem, printable
from vaekit.latents.optimise import ascend, cma_es
from vaekit.latents.regions import Region
from vaekit.tasks.latent_reference import LatentReference
from vaekit.tasks.property import Property

GRADIENT, CMA_ES = "gradient", "cma-es"
"""The methods."""


@dataclass(frozen=True, eq=False)
class Goal:
    """A property, and what it should be."""

    wanted: Property
    sign: int
    """1 for as high as possible, -1 for as low as possible."""
    target: float | None

    def score(self, values: Tensor) -> Tensor:
        """Higher is better."""
        return self.sign * values if self.target is None else -(values - self.target).abs()

    @property
    def bound(self) -> float | None:
        """The best possible score, if it is known."""
        return None if self.target is None else 0.0

    def __str__(self) -> str:
        if self.target is not None:
            return f"close to {self.target:g}"
        return "as high as possible" if self.sign > 0 else "as low as possible"


@dataclass(frozen=True, eq=False)
class WalkEnd:
    """Where walks in latent space ended."""

    z: Tensor
    """(b, z, ...)."""
    moved: Tensor
    """(b), in standard deviations."""
    far: Tensor
    """(b), whether the bound of the distance was reached."""
    sparse: Tensor
    """(b), whether that of the density was."""


@dataclass(frozen=True, eq=False)
class Walk:
    """A search in latent space. Its vectors are in standard deviations of the latents from their mean."""

    z: Tensor
    """(b, z, ...)."""
    reference: LatentReference
    goal: Goal
    decode: Callable[[Tensor], Tensor]
    """Latents (n, z, ...) -> items (n, ...)."""
    within: float
    """The maximum distance, see `OptimiseOptions`."""
    least: float | None
    """The minimum log-density in nats."""

    def end(self, method: str, steps: int, seed: int, after: Callable[[int], None]) -> WalkEnd:
        """Search by `GRADIENT` or `CMA_ES`.

        Raises:
            BadItem: the property of every item is not finite.
        """
        unit = math.sqrt(prod(self.z.shape[2:]))
        start = (self.z.double() - self.reference.mean) / self.reference.std
        density = None if self.least is None else self._log_density
        radius, spherical = self.within * unit, self.reference.gaussian
        region = Region.around(start.flatten(1), radius, density, self.least or 0.0, spherical)
        if method == GRADIENT:
            best = ascend(self._score, region, steps, self.goal.bound, after)
        else:
            with torch.no_grad():
                best = cma_es(self._score, region, steps, seed, after)
        if not best.score.isfinite().any():
            raise BadItem(
                f"The property {printable(self.goal.wanted.name)} is not finite for any reconstruction.",
                "Expected finite values.",
                "Choose another property, or other items.",
            )
        moved = region.distance(best.u)
        z = torch.where(moved.view(-1, *[1] * (self.z.dim() - 1)) > 0, self._latents(best.u), self.z)
        return WalkEnd(z, moved / unit, *region.active(best.u))

    def _latents(self, u: Tensor) -> Tensor:
        """Vectors (n, d) -> latents (n, z, ...)."""
        return (self.reference.mean + u.view(-1, *self.z.shape[1:]) * self.reference.std).float()

    def _log_density(self, u: Tensor) -> Tensor:
        return self.reference.prior.log_prob(self._latents(u)).double()

    def _score(self, u: Tensor) -> Tensor:
        return self.goal.score(self.goal.wanted.measure(self.decode(self._latents(u))))
