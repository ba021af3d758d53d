"""Judge decoded candidates: each different item is measured once, and the best one of each start is kept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.domains.domain import Domain, Schema
from vaekit.domains.item_functions import ItemSimilarity
from vaekit.tasks.latent_walk import Goal

MeasureBoth = Callable[[Tensor, Sequence[Any]], Tensor]
"""(items (n, ...) as a VAE takes them, the same as the domain writes them) -> values (n,)."""
DISSIMILAR = 1e300
"""Scores of candidates that are not similar enough are below minus this; the more similar, the higher."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """An item."""

    item: Any
    """As the domain writes it."""
    text: str | None
    """See `Domain.text`."""
    valid: bool
    x: Tensor
    """As the VAE takes it, (...)."""


class Measured:
    """Reads and measures items, each different one once.

    Args:
        domain: of the items.
        schema: of the items.
        measure: the property.
    """

    def __init__(self, domain: Domain, schema: Schema, measure: MeasureBoth) -> None:
        self.domain, self.schema, self.measure = domain, schema, measure
        self._by_row: dict[bytes, Decoded] = {}
        self._by_text: dict[str, float] = {}

    def decoded(self, x: Tensor) -> list[Decoded]:
        """Items (n, ...) as the domain writes them."""
        if x.is_floating_point():
            return self._decoded(x)
        keys = [row.tobytes() for row in x.cpu().numpy()]
        new = {key: place for place, key in enumerate(keys) if key not in self._by_row}
        if new:
            self._by_row |= zip(new, self._decoded(x[torch.tensor(list(new.values()))]), strict=True)
        return [self._by_row[key] for key in keys]

    def values_of(self, items: Sequence[Decoded]) -> list[float]:
        """The property of items; NaN of invalid ones."""
        new: dict[str | int, Decoded] = {}
        for place, each in enumerate(items):
            if each.valid and each.text not in self._by_text:
                new.setdefault(place if each.text is None else each.text, each)
        measured: dict[str | int, float] = {}
        if new:
            values = self.measure(torch.stack([each.x for each in new.values()]), [each.item for each in new.values()])
            measured = dict(zip(new, values.tolist(), strict=True))
            self._by_text |= {key: value for key, value in measured.items() if isinstance(key, str)}
        return [
            math.nan if not each.valid else measured[place] if each.text is None else self._by_text[each.text]
            for place, each in enumerate(items)
        ]

    def values(self, x: Tensor) -> Tensor:
        """The property of items (n, ...), (n,) in float64."""
        return torch.tensor(self.values_of(self.decoded(x)), dtype=torch.float64)

    def _decoded(self, x: Tensor) -> list[Decoded]:
        every = zip(self.schema.to_items(x), x, strict=True)
        return [Decoded(item, self.domain.text(item), self.domain.is_valid(item), row) for item, row in every]


@dataclass(eq=False)
class BestItem:
    """The best candidate of one start so far."""

    x: Tensor
    """(...)."""
    u: Tensor
    """Its vector in latent space, (d); of the original that of the start."""
    score: float
    """Higher is better; minus infinity for an original without the property."""
    original: bool = True
    """Whether it is the original itself, which no latent has to give back."""
    alternatives: int = 0
    """Candidates so far that satisfied the constraint."""


class Judge:
    """Candidates of several starts, judged by their property, with the constraint that they are similar to the
    original.

    Args:
        measured: the property.
        goal: what it should be.
        originals: the items (b, ...), which are the first candidates.
        starts: their vectors in latent space (b, d).
        similarity: the measure of similarity; None for none.
        least: the minimum similarity to the original; None for no limit.
    """

    def __init__(
        self,
        measured: Measured,
        goal: Goal,
        originals: Tensor,
        starts: Tensor,
        similarity: ItemSimilarity | None = None,
        least: float | None = None,
    ) -> None:
        self.measured, self.goal, self.similarity, self.least = measured, goal, similarity, least
        self.originals = measured.decoded(originals)
        self._similarities: dict[tuple[int, str | int], float] = {}
        """By start and text."""
        values = measured.values_of(self.originals)
        self.best = [
            BestItem(each.x, u, self._ranked(value))
            for each, u, value in zip(self.originals, starts, values, strict=True)
        ]

    def __call__(self, u: Tensor, x: Tensor) -> Tensor:
        """Judge candidates, those of a start in a row. Only those that are similar enough are measured.

        Args:
            u: their vectors in latent space (b k, d).
            x: the items (b k, ...).

        Returns:
            Scores (b k,) for a search: minus infinity for invalid items, and for those that are not similar enough
            less than for all others.
        """
        decoded, per_start = self.measured.decoded(x), len(x) // len(self.best)
        starts = [place // per_start for place in range(len(x))]
        scores = self._dissimilar(starts, decoded)
        allowed = [place for place, score in enumerate(scores) if score == 0]
        values = self.measured.values_of([decoded[place] for place in allowed])
        for place, value in zip(allowed, values, strict=True):
            scores[place] = score = self._ranked(value)
            if math.isfinite(score):
                best = self.best[starts[place]]
                best.alternatives += 1
                if score > best.score:
                    self.best[starts[place]] = BestItem(x[place], u[place], score, False, best.alternatives)
        return torch.tensor(scores, dtype=torch.float64)

    def similarities(self) -> list[float | None]:
        """Of the best candidates to their originals; None without a measure."""
        if self.similarity is None:
            return [None] * len(self.best)
        return [*self._to_originals(self.similarity, range(len(self.best)), self.measured.decoded(self.items()))]

    def _dissimilar(self, starts: Sequence[int], items: Sequence[Decoded]) -> list[float]:
        """The scores of items that are not similar enough, the higher the more similar; 0 of those that are."""
        least = self.least
        if least is None or self.similarity is None:
            return [0.0] * len(items)
        return [
            0.0 if value >= least else -math.inf if math.isnan(value) else -DISSIMILAR * (2 - value)
            for value in self._to_originals(self.similarity, starts, items)
        ]

    def _ranked(self, value: float) -> float:
        """The score of a value; minus infinity if it is not a finite number."""
        if not math.isfinite(value):
            return -math.inf
        return self.goal.score(torch.tensor(value, dtype=torch.float64)).item()

    def vectors(self) -> Tensor:
        """The vectors of the best candidates, (b, d)."""
        return torch.stack([each.u for each in self.best])

    def items(self) -> Tensor:
        """The best candidates, (b, ...)."""
        return torch.stack([each.x for each in self.best])

    def _to_originals(self, similarity: ItemSimilarity, starts: Sequence[int], items: Sequence[Decoded]) -> list[float]:
        """The similarity of each item to the original of its start, NaN for invalid ones. Computed once, where items
        can be compared."""
        texts = [place if each.text is None else each.text for place, each in enumerate(items)]
        keys = list(zip(starts, texts, strict=True))
        new = {
            key: each.item
            for key, each in zip(keys, items, strict=True)
            if each.valid and key not in self._similarities
        }
        computed: dict[tuple[int, str | int], float] = {}
        if new:
            originals = [self.originals[start].item for start, _ in new]
            values = similarity.of_pairs(originals, list(new.values())).tolist()
            computed = dict(zip(new, values, strict=True))
            self._similarities |= {key: value for key, value in computed.items() if isinstance(key[1], str)}
        return [computed.get(key, self._similarities.get(key, math.nan)) for key in keys]
