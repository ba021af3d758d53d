"""Optimise properties that are measured of items, or estimated of them from labelled data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.domains.item_functions import ItemSimilarity
from vaekit.errors import BadPlan, counted, printable
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.estimate import Estimate, estimate_of_labels, estimate_of_measured
from vaekit.tasks.judge import Judge, Measured
from vaekit.tasks.judged_walk import BOTH, JudgedWalk
from vaekit.tasks.latent_walk import CMA_ES, GRADIENT, Goal, Surroundings, WalkEnd
from vaekit.tasks.model import OpenModel

STEPS = 60
"""Batches of candidates by default: each is decoded and measured."""


@dataclass(eq=False)
class JudgedSearch:
    """Searches whose candidates are decoded and judged."""

    model: OpenModel
    goal: Goal
    data: Path | None
    """Labelled data, or data that a regression of a measured property is fitted to."""
    seed: int
    similarity: float | None
    """The minimum similarity to the original."""
    progress: Progress = no_progress
    notes: list[str] = field(default_factory=list)
    _fitted: dict[tuple[int, ...], Estimate | None] = field(default_factory=dict)

    def method(self, asked: str) -> str:
        """The method that is used, of those of `JudgedWalk`."""
        return asked if asked in (GRADIENT, CMA_ES) else BOTH

    @cached_property
    def of_labels(self) -> Estimate | None:
        """The estimate of a column of labels.

        Raises:
            BadPlan, NotFound, NoTrainingData, BadItem: see `estimate_of_labels`.
        """
        column = self.goal.wanted.column
        if column is None:
            return None
        assert self.data is not None
        return estimate_of_labels(self.model, self.data, column, self.seed, self.progress)

    @cached_property
    def measured(self) -> Measured:
        """The property, measured of each different item once."""
        return Measured(self.model.domain, self.model.schema, self._measure)

    @property
    def estimate(self) -> Estimate | None:
        """The regression of the property on latents, if one was fitted."""
        return next((each for each in (self.of_labels, *self._fitted.values()) if each is not None), None)

    @property
    def measure_of_similarity(self) -> ItemSimilarity | None:
        """That of the domain."""
        return self.model.domain.similarity

    def run(
        self,
        around: Surroundings,
        x: Tensor,
        size: tuple[int, ...],
        asked: str,
        steps: int,
        after: Callable[[int], None],
    ) -> tuple[Judge, WalkEnd]:
        """Search around the latents of items.

        Args:
            around: where to search.
            x: the items (b, ...).
            size: of decoded items.
            asked: the method, of `OptimiseOptions`.
            steps: the number of batches of candidates.
            after: called after each.

        Raises:
            BadItem: no item has the property.
            BadPlan: the property cannot be estimated, and only its gradient is to be followed.
        """
        method = self.method(asked)
        estimate = None if method == CMA_ES else self._estimate(around, size, required=method == GRADIENT)
        judge = Judge(self.measured, self.goal, x, around.region.start, self.measure_of_similarity, self.similarity)
        walk = JudgedWalk(around, judge, lambda z: self.model.engine.decode(z, size), estimate)
        return judge, walk.end(method if estimate is not None else CMA_ES, steps, self.seed, after)

    def _measure(self, x: Tensor, items: Sequence[Any]) -> Tensor:
        """The property of items that are written as `items`."""
        if self.of_labels is not None:
            return self.of_labels(self.model.engine.encode(x).mode.cpu())
        measure = self.goal.wanted.of_items
        return self.goal.wanted.of_tensors(self.model.schema)(x) if measure is None else measure(items)

    def _estimate(self, around: Surroundings, size: tuple[int, ...], required: bool) -> Estimate | None:
        """The regression for latents of this shape; None if the property cannot be estimated, and need not be."""
        shape = tuple(around.z.shape[1:])
        if self.of_labels is not None:
            return self.of_labels
        if shape not in self._fitted:
            try:
                self._fitted[shape] = estimate_of_measured(
                    self.model,
                    self.measured,
                    self.goal.wanted.name,
                    around.reference,
                    size,
                    self.data,
                    self.seed,
                    self.progress,
                )
            except BadPlan as error:
                if required:
                    raise
                self._fitted[shape] = None
                self.notes.append(f"No gradient is estimated: {error.found}")
        return self._fitted[shape]

    def check(self) -> None:
        """Check what is wanted, and fit a regression to labels, before items are read.

        Raises:
            BadPlan: the domain has no measure of similarity, or the minimum is out of range.
            BadPlan, NotFound, NoTrainingData, BadItem: see `of_labels`.
        """
        least, domain = self.similarity, self.model.domain
        if least is not None and domain.similarity is None:
            raise BadPlan(
                f"There is no measure of similarity of {domain.items}.",
                "Expected --similarity only for domains with one, such as molecules.",
                "Limit the distance in latent space instead: --within D.",
            )
        if least is not None and not 0 <= least <= 1:
            raise BadPlan(f"The minimum similarity is {least:g}.", "Expected 0 to 1.", "1 is the same item.")
        if self.of_labels is not None:
            self.notes.append(
                f"{printable(self.goal.wanted.name)} is estimated from latents, not measured: nothing computes it of "
                f"{domain.items} without a label. The regression was fitted to {self.of_labels.source} "
                f"({self.of_labels.quality})."
            )

    @property
    def notes_on_estimate(self) -> list[str]:
        """Whether the regression that was fitted is of little help."""
        if self.estimate is None or not self.estimate.is_poor:
            return []
        name = printable(self.goal.wanted.name)
        if self.of_labels is not None:
            return [f"Latents hardly predict {name}, so its values are guesses: more labelled data may help."]
        return [f"Latents hardly predict {name}, so its estimated gradient is little help: more --steps may help."]

    def notes_on(self, judge: Judge) -> list[str]:
        """Notes on items that stayed as they are."""
        kept = [best for best in judge.best if best.original]
        if not kept:
            return []
        none = sum(not best.alternatives for best in kept)
        bounds = "other item with a finite value of the property"
        if self.similarity:
            bounds += f" and a similarity of at least {self.similarity:g}"
        why = ""
        if none:
            where = "It" if none == len(kept) else f"For {none:,} of them, it"
            why = f" {where} found no {bounds}: try other values of --within."
        items = counted(len(kept), self.model.domain.item, self.model.domain.items)
        return [f"{items} of {len(judge.best):,} unchanged: the search found nothing better.{why}"]
