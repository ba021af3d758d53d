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
class Judged:
    """An item and its property."""

    item: Any
    text: str | None
    """See `Domain.text`."""
    value: float
    """NaN for an invalid item."""


class Measured:
    """Measures items, each different one once.

    Args:
        domain: of the items.
        schema: of the items.
        measure: the property.
    """

    def __init__(self, domain: Domain, schema: Schema, measure: MeasureBoth) -> None:
        self.domain, self.schema, self.measure = domain, schema, measure
        self._by_row: dict[bytes, Judged] = {}
        self._by_text: dict[str, float] = {}

    @property
    def different(self) -> int:
        """The number of different items that were measured, of those that can be compared."""
        return len(self._by_text)

    def __call__(self, x: Tensor) -> list[Judged]:
        """The properties of items (n, ...)."""
        if x.is_floating_point():
            return self._judged(x)
        keys = [row.tobytes() for row in x.cpu().numpy()]
        new = {key: place for place, key in enumerate(keys) if key not in self._by_row}
        if new:
            self._by_row |= zip(new, self._judged(x[torch.tensor(list(new.values()))]), strict=True)
        return [self._by_row[key] for key in keys]

    def values(self, x: Tensor) -> Tensor:
        """The properties of items (n, ...), (n,) in float64."""
        return torch.tensor([each.value for each in self(x)], dtype=torch.float64)

    def _judged(self, x: Tensor) -> list[Judged]:
        items = list(self.schema.to_items(x))
        texts = [self.domain.text(item) for item in items]
        known: dict[int, float] = {}
        wanted: dict[str | int, int] = {}
        for place, (item, text) in enumerate(zip(items, texts, strict=True)):
            if not self.domain.is_valid(item):
                known[place] = math.nan
            elif text not in self._by_text:
                wanted.setdefault(place if text is None else text, place)
        places = list(wanted.values())
        if places:
            values = self.measure(x[torch.tensor(places)], [items[place] for place in places]).tolist()
            known |= zip(places, values, strict=True)
            self._by_text |= {key: known[place] for key, place in wanted.items() if isinstance(key, str)}
        every = [
            known[place] if place in known or text is None else self._by_text[text] for place, text in enumerate(texts)
        ]
        return [Judged(*each) for each in zip(items, texts, every, strict=True)]


@dataclass(eq=False)
class BestItem:
    """The best candidate of one start so far."""

    judged: Judged
    x: Tensor
    """(...)."""
    u: Tensor
    """Its vector in latent space, (d); of the original that of the start."""
    score: float
    """Higher is better; minus infinity for an original without the property."""
    similarity: float | None
    """To the original."""
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
        self.originals = measured(originals)
        self._similarities: list[dict[str, float]] = [{} for _ in self.originals]
        own = self._to_originals(range(len(self.originals)), self.originals)
        self.best = [
            BestItem(judged, x, u, self._ranked(judged), alike)
            for judged, x, u, alike in zip(self.originals, originals, starts, own, strict=True)
        ]

    def __call__(self, u: Tensor, x: Tensor) -> Tensor:
        """Judge candidates, those of a start in a row.

        Args:
            u: their vectors in latent space (b k, d).
            x: the items (b k, ...).

        Returns:
            Scores (b k,) for a search: minus infinity for invalid items, and for those that are not similar enough
            less than for all others.
        """
        judged, per_start = self.measured(x), len(x) // len(self.best)
        starts = [place // per_start for place in range(len(x))]
        alike = self._to_originals(starts, judged)
        scores = []
        for place, (start, each, similarity) in enumerate(zip(starts, judged, alike, strict=True)):
            score = self._ranked(each)
            if math.isfinite(score) and self.least is not None:
                assert similarity is not None
                if math.isnan(similarity):
                    score = -math.inf
                elif similarity < self.least:
                    score = -DISSIMILAR * (2 - similarity)
            scores.append(score)
            if score > -DISSIMILAR:
                best = self.best[start]
                best.alternatives += 1
                if score > best.score:
                    self.best[start] = BestItem(each, x[place], u[place], score, similarity, False, best.alternatives)
        return torch.tensor(scores, dtype=torch.float64)

    def _ranked(self, judged: Judged) -> float:
        """The score of an item; minus infinity if its property is not a finite number."""
        if not math.isfinite(judged.value):
            return -math.inf
        return self.goal.score(torch.tensor(judged.value, dtype=torch.float64)).item()

    def vectors(self) -> Tensor:
        """The vectors of the best candidates, (b, d)."""
        return torch.stack([each.u for each in self.best])

    def items(self) -> Tensor:
        """The best candidates, (b, ...)."""
        return torch.stack([each.x for each in self.best])

    def _to_originals(self, starts: Sequence[int], judged: Sequence[Judged]) -> list[float | None]:
        """The similarity of each item to the original of its start; None without a measure."""
        if self.similarity is None:
            return [None] * len(judged)
        known = self._similarities
        new: dict[tuple[int, str], Any] = {}
        for start, each in zip(starts, judged, strict=True):
            text = each.text or ""
            if text not in known[start]:
                new[start, text] = each.item
        if new:
            originals = [self.originals[start].item for start, _ in new]
            values = self.similarity.of_pairs(originals, list(new.values())).tolist()
            for (start, text), value in zip(new, values, strict=True):
                known[start][text] = value
        return [known[start][each.text or ""] for start, each in zip(starts, judged, strict=True)]
