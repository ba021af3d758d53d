"""Score the items of a data set in parts, in any process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.anomaly.reference import RELATIVE_SCORES, Reference
from vaekit.anomaly.scores import Scorer
from vaekit.domains.domain import ItemBatch, ItemStream
from vaekit.errors import BadPlan, printable
from vaekit.tasks.model import OpenModel
from vaekit.tasks.scorer import scorer_of, usable_places


@dataclass(frozen=True, eq=False)
class Part:
    """A batch of which the first items are scored."""

    batch: ItemBatch
    count: int

    def __str__(self) -> str:
        names = self.batch.names
        return f"the items {printable(names[0])} to {printable(names[self.count - 1])}"


def parts_of(stream: ItemStream, limit: int | None) -> Iterator[Part]:
    """The batches of a stream, up to a number of items."""
    left = limit
    for batch in stream.batches:
        count = len(batch.names) if left is None else min(len(batch.names), left)
        yield Part(batch, count)
        left = None if left is None else left - count
        if left == 0:
            return


@dataclass(frozen=True, eq=False)
class Scoring:
    """How batches are scored, for any process."""

    model: OpenModel
    reference: Reference | None
    score: str
    draws: int
    seed: int


def start_scoring(scoring: Scoring) -> Callable[[Part], Tensor]:
    """The function that scores a batch."""
    scorer = scorer_of(scoring.model, scoring.draws, scoring.seed)
    return lambda part: scores_in(part.batch, part.count, scorer, scoring.reference, scoring.score)


def scores_in(batch: ItemBatch, count: int, scorer: Scorer, reference: Reference | None, name: str) -> Tensor:
    """The scores of the first items of a batch, (count,), float64; NaN for items with problems."""
    usable = torch.tensor([place for place in usable_places(batch) if place < count], dtype=torch.long)
    values = torch.full((count,), torch.nan, dtype=torch.float64)
    if len(usable):
        values[usable] = score_named(name, batch.x[usable], scorer, reference)
    return values


def score_named(name: str, x: Tensor, scorer: Scorer, reference: Reference | None) -> Tensor:
    """A score of items (b, ...), (b,), float64.

    Raises:
        BadPlan: items of this kind have no such score.
        BadItem: the items differ in size from the reference items.
    """
    if name not in RELATIVE_SCORES:
        scores = scorer.evidence(x).scores
        if name not in scores:
            raise BadPlan(
                f"This VAE has no score {name}.", f"Its scores are {', '.join(scores)}.", "Choose one of these."
            )
        return scores[name]
    assert reference is not None
    if name != "ensemble":
        return reference.relative_scores(scorer.latents(x), {}, [name])[name]
    evidence = scorer.evidence(x)
    return reference.relative_scores(evidence.latents, evidence.scores, [name])[name]
