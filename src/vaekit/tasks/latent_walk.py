"""Search the latent space around items for a better value of a property."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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

    def not_finite(self) -> BadItem:
        """The error for a property without values."""
        return BadItem(
            f"The property {printable(self.wanted.name)} is not finite for any reconstruction.",
            "Expected finite values.",
            "Choose another property, or other items.",
        )

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
class Surroundings:
    """Where walks from latents may go. Vectors u are in standard deviations of the latents from their mean."""

    z: Tensor
    """The starts, (b, z, ...)."""
    reference: LatentReference
    within: float
    """The maximum distance, see `OptimiseOptions`."""
    least: float | None
    """The minimum log-density in nats."""

    @cached_property
    def region(self) -> Region:
        """The allowed vectors."""
        density = None if self.least is None else self._log_density
        radius, spherical = self.within * self._unit, self.reference.gaussian
        return Region.around(self.vectors(self.z), radius, density, self.least or 0.0, spherical)

    def vectors(self, z: Tensor) -> Tensor:
        """Latents (n, z, ...) -> vectors (n, d)."""
        return ((z.double() - self.reference.mean) / self.reference.std).flatten(1)

    def latents(self, u: Tensor) -> Tensor:
        """Vectors (n, d) -> latents (n, z, ...)."""
        return (self.reference.mean + u.view(-1, *self.z.shape[1:]) * self.reference.std).float()

    def end(self, u: Tensor) -> WalkEnd:
        """The end of walks at vectors (b, d). Those that did not move have the latents of their starts exactly."""
        moved = self.region.distance(u)
        z = torch.where(moved.view(-1, *[1] * (self.z.dim() - 1)) > 0, self.latents(u), self.z)
        return WalkEnd(z, moved / self._unit, *self.region.active(u))

    @property
    def _unit(self) -> float:
        return math.sqrt(prod(self.z.shape[2:]))

    def _log_density(self, u: Tensor) -> Tensor:
        return self.reference.prior.log_prob(self.latents(u)).double()


@dataclass(frozen=True, eq=False)
class Walk:
    """A search for latents whose items have more of a property."""

    around: Surroundings
    goal: Goal
    decode: Callable[[Tensor], Tensor]
    """Latents (n, z, ...) -> items (n, ...)."""
    measure: Callable[[Tensor], Tensor]
    """Items (n, ...) -> values of the property (n,)."""

    def end(self, method: str, steps: int, seed: int, after: Callable[[int], None]) -> WalkEnd:
        """Search by `GRADIENT` or `CMA_ES`.

        Raises:
            BadItem: the property of every item is not finite.
        """
        region = self.around.region
        if method == GRADIENT:
            best = ascend(self._score, region, steps, self.goal.bound, after)
        else:
            with torch.no_grad():
                best = cma_es(self._score, region, steps, seed, after)
        if not best.score.isfinite().any():
            raise self.goal.not_finite()
        return self.around.end(best.u)

    def _score(self, u: Tensor) -> Tensor:
        return self.goal.score(self.measure(self.decode(self.around.latents(u))))
