"""The items of an evaluation that its page plays: the first ones, and those with the worst reconstructions."""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from vaekit.domains.domain import Listen, Schema
from vaekit.errors import VaekitError
from vaekit.evaluation.evaluate import Evaluation
from vaekit.evaluation.journal import Item, opened
from vaekit.evaluation.protocol import SAMPLE
from vaekit.evaluation.vae_pass import VAEPass, VAERunner
from vaekit.metrics.measure import Measure
from vaekit.report.players import PlayedItem

FIRST, WORST = 2, 4
"""The number of items that are played: in the order of the data, and by their reconstructions."""


def played_items(
    evaluation: Evaluation,
    folder: Path,
    read: Callable[[str], Tensor],
    runner: VAERunner,
    schema: Schema,
    listen: Listen,
    measures: Sequence[Measure],
) -> list[PlayedItem]:
    """Items of an evaluation with their reconstructions, to listen to. One that cannot be read any more is left out.

    Args:
        evaluation: the results.
        folder: where they are saved.
        read: reads an item by name.
        runner: the VAE.
        schema: of the items.
        listen: makes items audible.
        measures: of reconstructions, the first of which decides which are the worst.

    Raises:
        CannotWrite: the results cannot be read.
    """
    protocol = evaluation.protocol
    played = []
    for item, why in chosen(folder, evaluation, measures[0]):
        try:
            x = read(item.name)[None]
            result = VAEPass((item.name,), x, runner, protocol.seed, protocol.latents == SAMPLE).result.cpu()
        except VaekitError:
            continue
        original, reconstruction = (schema.to_items(each)[0] for each in (x, result))
        sounds = {"Original": listen(original, schema), "Reconstruction": listen(reconstruction, schema)}
        values = [(each, {"Reconstruction": item.values[each.name]}) for each in measures if each.name in item.values]
        played.append(PlayedItem(item.name, why, sounds, values))
    return played


def chosen(folder: Path, evaluation: Evaluation, measure: Measure) -> list[tuple[Item, str]]:
    """The measured items to play, and the reason for each."""
    first: list[Item] = []

    def with_values() -> Iterator[Item]:
        for item in measured(folder, evaluation):
            if len(first) < FIRST:
                first.append(item)
            if math.isfinite(item.values.get(measure.name, math.nan)):
                yield item

    worst = heapq.nlargest(WORST, with_values(), key=lambda item: measure.badness(item.values[measure.name]))
    reasons = {item.name: (item, f"item {place} of the data") for place, item in enumerate(first, 1)}
    for place, item in enumerate(worst, 1):
        why = f"worst {measure.title}" if place == 1 else f"rank {place} by {measure.title}, worst first"
        known = reasons.get(item.name)
        reasons[item.name] = (item, why if known is None else f"{known[1]}; {why}")
    return list(reasons.values())


def measured(folder: Path, evaluation: Evaluation) -> Iterator[Item]:
    """The items that were measured, from the saved results."""
    with opened(folder, evaluation.protocol) as journal:
        for batch in journal.batches():
            yield from (item for item in batch.items if item.error is None)
