"""Search the latent space around items whose property has no gradient: decode candidates, and judge what they are.

A regression of the property on latents, where there is one, shows the way up; it never judges. CMA-ES then starts from
the best candidate several times, with small steps first: most latents near that of an item decode to the same item.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.latents.optimise import cma_es, uphill
from vaekit.tasks.judge import Judge
from vaekit.tasks.latent_walk import CMA_ES, GRADIENT, Surroundings, WalkEnd

BOTH = f"{GRADIENT}, then {CMA_ES}"
"""The method of some steps of the one, and the others of the other."""
CLIMB = 8
"""Of the steps of both methods, one in this number goes along the gradient."""
STEP_LENGTHS = (0.3, 0.6, 1.0)
"""The typical lengths of the first steps of each run of CMA-ES, relative to the radius."""


@dataclass(frozen=True, eq=False)
class JudgedWalk:
    """A search for latents whose items have more of a property that is measured of the items."""

    around: Surroundings
    judge: Judge
    decode: Callable[[Tensor], Tensor]
    """Latents (n, z, ...) -> items (n, ...)."""
    estimate: Callable[[Tensor], Tensor] | None = None
    """Latents (n, z, ...) -> values of the property (n,), differentiable; None if they cannot be estimated."""

    @torch.no_grad()
    def end(self, method: str, steps: int, seed: int, after: Callable[[int], None]) -> WalkEnd:
        """Search by `GRADIENT`, `CMA_ES` or `BOTH`; the judge keeps the best items.

        Raises:
            BadItem: no item has the property.
        """
        self._score(self.around.region.start)
        climbing = {GRADIENT: steps, CMA_ES: 0}.get(method, max(1, steps // CLIMB))
        for step, u in enumerate(uphill(self._estimated, self.around.region, climbing), start=1):
            self._score(u)
            after(step)
        self._evolve(steps - climbing, seed, lambda step: after(climbing + step))
        if not any(math.isfinite(best.score) for best in self.judge.best):
            raise self.judge.goal.not_finite()
        return self.around.end(self.judge.vectors())

    def _evolve(self, generations: int, seed: int, after: Callable[[int], None]) -> None:
        """Run CMA-ES several times, each time from the best items so far."""
        region, done = self.around.region, 0
        for run, length in enumerate(STEP_LENGTHS):
            part = generations // len(STEP_LENGTHS) + (run < generations % len(STEP_LENGTHS))
            if part:
                first = length * region.radius / math.sqrt(region.start.shape[1])
                before = done
                cma_es(
                    self._score,
                    region,
                    part,
                    seed + run,
                    lambda step, before=before: after(before + step),  # type: ignore[misc]
                    mean=self.judge.vectors(),
                    first=first,
                )
                done += part

    def _score(self, u: Tensor) -> Tensor:
        return self.judge(u, self.decode(self.around.latents(u)))

    def _estimated(self, u: Tensor) -> Tensor:
        assert self.estimate is not None
        return self.judge.goal.score(self.estimate(self.around.latents(u)))
