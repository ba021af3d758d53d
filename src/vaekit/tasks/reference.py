"""Fit statistics of normal data, with thresholds, to a VAE."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaekit.anomaly.hash_sample import HashSample
from vaekit.anomaly.labels import has_usual_label, normal_label, plain_label
from vaekit.anomaly.reference import MOST_LATENTS, Reference, ReferenceFit
from vaekit.anomaly.scores import Evidence, Scorer
from vaekit.anomaly.thresholds import Threshold, by_contamination, by_false_positive_rate, by_labels
from vaekit.datasets.label_columns import FOLDER
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import ItemBatch, ItemStream
from vaekit.errors import NotFound
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel
from vaekit.tasks.scorer import batch_size, usable_places

DEFAULT_CONTAMINATION = 0.05


@dataclass(frozen=True)
class ThresholdOptions:
    """The rule for thresholds; by default a contamination of 5 %."""

    contamination: float | None = None
    """The share of the reference that counts as anomalous."""
    false_positive_rate: float | None = None
    """The share of new normal items that may be flagged."""

    @property
    def wanted(self) -> bool:
        """Whether a rule was chosen."""
        return self.contamination is not None or self.false_positive_rate is not None

    def threshold(self, scores: Tensor) -> Threshold:
        """The threshold from the scores of normal items."""
        if self.false_positive_rate is not None:
            return by_false_positive_rate(scores.numpy(), self.false_positive_rate)
        share = DEFAULT_CONTAMINATION if self.contamination is None else self.contamination
        return by_contamination(scores.numpy(), share)


@dataclass(frozen=True, eq=False)
class FittedReference:
    """Statistics of normal data."""

    reference: Reference
    anomalies: int = 0
    """Items with the label of an anomaly, from which thresholds were derived."""
    unread: int = 0
    """Items that could not be read, or whose scores are not finite."""
    unlabelled: int = 0
    """Items without a label, which were left out."""
    labelled: bool = False
    """Whether the items had labels."""


def fit_reference(
    stream: ItemStream,
    scorer: Scorer,
    rule: ThresholdOptions,
    normal: str | None = None,
    progress: Progress = no_progress,
) -> FittedReference:
    """Fit statistics and thresholds to items.

    Args:
        stream: normal items; with labels also anomalies, which only set the thresholds (highest F1).
        scorer: of the VAE.
        rule: for thresholds, where there are no labelled anomalies or a rule was chosen.
        normal: the label of normal items; None for a usual one.
        progress: called with the number of finished items and of all.

    Raises:
        NoTrainingData: the label of normal items is not known.
        BadItem: fewer than two items can be used.
    """
    fit, anomalies = ReferenceFit(scorer.draws, scorer.seed), HashSample(MOST_LATENTS)
    unread = unlabelled = done = 0
    known: str | None = None
    names: tuple[str, ...] = ()
    for batch in stream.batches:
        done += len(batch.names)
        usable = usable_places(batch)
        unread += len(batch.names) - len(usable)
        if batch.labels is not None:
            known = known or normal_in(stream, batch, normal)
            unlabelled += sum(batch.labels[place] is None for place in usable)
            usable = [place for place in usable if batch.labels[place] is not None]
        if usable:
            evidence = scorer.evidence(batch.x[torch.tensor(usable)], factors=True)
            names = tuple(evidence.scores)
            chosen = [batch.names[place] for place in usable]
            is_normal = torch.tensor([not is_anomaly(batch.labels, place, known) for place in usable])
            fit.add(*selected(chosen, evidence, is_normal))
            others, rest = selected(chosen, evidence, ~is_normal)
            anomalies.add(others, rest.latents, torch.stack([rest.scores[name] for name in names], dim=1))
        progress(done, stream.expected_total(done))
    reference = fit.finish()
    kept = anomalies.rows()
    scores = {} if not kept else scores_of(reference, kept[0], dict(zip(names, kept[1].T, strict=True)))
    return FittedReference(
        reference.with_thresholds(thresholds(reference, scores, rule)),
        anomalies.count,
        unread + fit.excluded,
        unlabelled,
    )


def labelled_stream(
    model: OpenModel,
    path: Path,
    labels: str | None,
    train: bool = False,
    required: bool = False,
    keep: Sequence[str] = (),
) -> ItemStream:
    """The items of a data set, with labels where it has such a column. If no column is named, folders are labels where
    one of them has a usual name of normal items, as in MVTec's layout.

    Args:
        model: the VAE.
        path: the data set.
        labels: the column; None for none.
        train: see `Domain.batches`.
        required: the data set must have the column.
        keep: other columns to read, too.

    Raises:
        NotFound, NoTrainingData: there are no items, the column is required and missing, or one to keep is missing.
    """
    size, log = batch_size(model), SkipLog()
    if labels is not None:
        try:
            return model.domain.batches(path, model.schema, size, log, labels, train, keep)
        except NotFound:
            if required:
                raise
    elif path.is_dir():
        with suppress(NotFound):
            stream = model.domain.batches(path, model.schema, size, log, FOLDER, train, keep)
            if has_usual_label(stream.labels):
                return stream
    return model.domain.batches(path, model.schema, size, log, None, train, keep)


def normal_in(stream: ItemStream, batch: ItemBatch, wanted: str | None) -> str:
    """The label of normal items: among all labels if they are known in advance, else among those of the first batch.

    Raises:
        NoTrainingData: it is not known; see `normal_label`.
    """
    if wanted is not None and not stream.labels:
        return plain_label(wanted)
    return normal_label(stream.labels or batch.labels or (), wanted)


def is_anomaly(labels: Sequence[str | None] | None, place: int, normal: str | None) -> bool:
    """Whether an item has another label than normal ones; False for one without a label."""
    label = None if labels is None else labels[place]
    return label is not None and plain_label(label) != normal


def scores_of(reference: Reference, latents: Tensor, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All scores of items."""
    return {**own, **reference.relative_scores(latents, own, list(reference.scores))}


def thresholds(reference: Reference, anomalies: Mapping[str, Tensor], rule: ThresholdOptions) -> dict[str, Threshold]:
    """The threshold for each score: by the rule, or without one by labels where there are anomalies."""
    if not anomalies or rule.wanted:
        return {name: rule.threshold(scores) for name, scores in reference.scores.items()}
    return {
        name: by_labels(
            torch.cat([scores, anomalies[name]]).numpy(), [False] * len(scores) + [True] * len(anomalies[name])
        )
        for name, scores in reference.scores.items()
    }


def selected(names: Sequence[str], evidence: Evidence, chosen: Tensor) -> tuple[list[str], Evidence]:
    """Some of a batch of items."""
    return (
        [name for name, each in zip(names, chosen.tolist(), strict=True) if each],
        Evidence(
            evidence.latents[chosen],
            {name: scores[chosen] for name, scores in evidence.scores.items()},
            None if evidence.factors is None else evidence.factors[chosen],
        ),
    )
