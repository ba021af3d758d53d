"""Explain why items are improbable: the elements that contribute most, as people of the domain look at them."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from vaekit.anomaly.attribution import attributions
from vaekit.anomaly.reference import Reference, usual_score
from vaekit.anomaly.reference_files import find_reference, load_reference
from vaekit.anomaly.scores import Scorer
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.attribution import Attribution, Explanation
from vaekit.errors import BadItem, NotFound, counted, printable
from vaekit.runtime.draws import repeated
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.given import named_item
from vaekit.tasks.model import OpenModel
from vaekit.tasks.scorer import batch_size, scorer_of


@dataclass(frozen=True)
class ExplainOptions:
    """Which items are explained."""

    vae: str = "builtin"
    """The name or path of the VAE, beside which statistics of normal data are kept."""
    models: Sequence[Path] | None = None
    """The models folders; None for the user's own."""
    most: int = 16
    """The maximum number of items: the most improbable ones."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """An item to explain."""

    name: str
    x: Tensor
    """(1, ...)."""
    score: float
    """Higher is more normal."""
    source: Path | None
    """The file of the item, if it has its own."""


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """Explained items, the most improbable first."""

    explanations: Sequence[Explanation]
    scores: Sequence[float]
    """Of each; log p(x), or log p(x|z) of a VAE without a prior; of sequences per token; higher is more normal."""
    items: int
    """The number of items that were given."""
    not_scored: dict[str, str]
    """Reasons, by name, for items that cannot be scored."""
    reference: Path | None
    """The file of the statistics of normal data that contributions are compared with."""


def explain(
    model: OpenModel,
    paths: Sequence[Path],
    out: Path | None,
    options: ExplainOptions = ExplainOptions(),
    progress: Progress = no_progress,
) -> ExplainResult:
    """Explain the most improbable ones of some items.

    Args:
        model: the VAE.
        paths: files of items, or data sets; or items of these by name, such as `rows.csv:172`.
        out: the folder for files, such as heat maps; None to write none.
        options: which items, and of which VAE.
        progress: called with the number of finished items and of all.

    Raises:
        BadPlan: the likelihood of the VAE is not a product over elements.
        NotFound, NoTrainingData: there are no items.
        BadItem: none of them can be scored, or they differ in size from the reference items.
        BadReference: the statistics of normal data are damaged, or of another VAE.
        HalfMissing: the VAE lacks a half.
        CannotWrite: the disk is full, or the like.
    """
    scorer, reference, path = scorer_and_reference(model, options)
    not_scored: dict[str, str] = {}
    count = Counter(progress)
    chosen = most_improbable(scored_items(model, scorer, paths, not_scored, count), options.most)
    if not chosen:
        raise BadItem(
            f"None of {counted(count.done, model.domain.item, model.domain.items)} can be scored.",
            next(iter(not_scored.values()), ""),
            f"Give {model.domain.items} that the VAE was trained on.",
        )
    explanations = [explained(model, scorer, reference, each, out) for each in chosen]
    return ExplainResult(explanations, [each.score for each in chosen], count.done, not_scored, path)


def explain_named(
    model: OpenModel, data: Path, names: Sequence[str], out: Path | None, options: ExplainOptions = ExplainOptions()
) -> list[Explanation]:
    """Explain the items of these names, in the order of the data; see `explain`. The first of several of one name."""
    scorer, reference, _ = scorer_and_reference(model, options)
    wanted, found = set(names), []
    for batch in model.domain.batches(data, model.schema, batch_size(model), SkipLog()).batches:
        for place, name in enumerate(batch.names):
            if name in wanted and place not in batch.problems:
                wanted.remove(name)
                item = Chosen(name, batch.x[place : place + 1], math.nan, source_of(data, name))
                found.append(explained(model, scorer, reference, item, out))
        if not wanted:
            break
    return found


def scorer_and_reference(model: OpenModel, options: ExplainOptions) -> tuple[Scorer, Reference | None, Path | None]:
    """The scorer of a VAE, and the statistics of normal data beside it with their file, if there are any.

    Raises:
        BadReference: they are damaged, or of another VAE.
        HalfMissing: the VAE lacks a half.
    """
    fingerprint = model.origin.fingerprint
    path = find_reference(options.vae, fingerprint, options.models)
    if path is None:
        return scorer_of(model), None, None
    reference = load_reference(path, fingerprint)
    return scorer_of(model, reference.draws, reference.seed), reference, path


class Counter:
    """Counts items over several data sets.

    Args:
        progress: called with the number of finished items and of all that are known so far.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.done = self.total = 0

    def add(self, count: int) -> None:
        """Count finished items."""
        self.done += count
        self.progress(self.done, max(self.done, self.total))


def scored_items(
    model: OpenModel, scorer: Scorer, paths: Sequence[Path], not_scored: dict[str, str], count: Counter
) -> Iterator[Chosen]:
    """All items with their scores; adds reasons for those that cannot be scored."""
    for path, wanted in map(named_item, paths):
        stream = model.domain.batches(path, model.schema, batch_size(model), SkipLog())
        count.total += 1 if wanted else stream.total or 0
        for batch in stream.batches:
            places = [place for place, name in enumerate(batch.names) if wanted in (None, name)]
            not_scored |= {batch.names[place]: batch.problems[place] for place in places if place in batch.problems}
            usable = [place for place in places if place not in batch.problems]
            if usable:
                x = batch.x[torch.tensor(usable)]
                found = scorer.evidence(x).scores
                scores = found[usual_score(found)].tolist()
                for place, item, score in zip(usable, x.split(1), scores, strict=True):
                    name = batch.names[place]
                    yield Chosen(name, item, score, source_of(path, name))
            count.add(len(places))
            if wanted and places:
                break
        else:
            if wanted:
                raise NotFound(f"{path} has no {model.domain.item} {printable(wanted)}.", "", "Check the number.")


def most_improbable(items: Iterator[Chosen], most: int) -> list[Chosen]:
    """The items with the lowest scores, ascending; of equal ones the first. NaN is lowest."""
    ordered = (
        (float("-inf") if item.score != item.score else item.score, number, item) for number, item in enumerate(items)
    )
    return [item for _, _, item in heapq.nsmallest(most, ordered, key=lambda each: each[:2])]


def source_of(path: Path, name: str) -> Path | None:
    """The file of an item of a data set, if it has its own."""
    candidates = (path / name, path.parent / name)
    return next((each for each in candidates if each.is_file() and (path.is_dir() or each == path)), None)


@torch.no_grad()
def explained(
    model: OpenModel, scorer: Scorer, reference: Reference | None, item: Chosen, out: Path | None
) -> Explanation:
    """The explanation of one item; see `explain`."""
    x = scorer.prepared(item.x)
    nats = attributions(scorer.evidence(x, factors=True), reference)
    z = scorer.halves.encode(x).mode

    def sample(count: int) -> Tensor:
        many = scorer.halves.likelihood(repeated(z, count), repeated(x, count))
        return many.sample(Generator().manual_seed(scorer.seed)).cpu()

    likelihood = scorer.halves.likelihood(z, x)
    found = Attribution(item.name, item.x, likelihood, nats.cpu(), sample, unit_of(reference), item.source)
    return model.domain.explain(found, model.schema, out)


def unit_of(reference: Reference | None) -> float | None:
    """Three standard deviations of the contribution of an element of normal items, whose channels are summed."""
    if reference is None or reference.factors is None:
        return None
    std = reference.factors.std
    return 3 * float((std.square().sum(dim=0) if std.dim() > 1 else std.square()).mean().sqrt())
