"""Score the items of a data set by how normal they are, and flag anomalies."""

import csv
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO

from torch import Tensor

from vaekit.anomaly.reference import ALL_SCORES, RELATIVE_SCORES, Reference
from vaekit.anomaly.reference_files import find_reference, load_reference, record_path, reference_paths, save_beside
from vaekit.anomaly.scores import DRAWS, LIKELIHOOD, PER_TOKEN, Scorer, check_has_prior
from vaekit.anomaly.thresholds import Threshold
from vaekit.atomic import atomic_file
from vaekit.domains.domain import ItemStream
from vaekit.domains.files import not_found
from vaekit.domains.unknown_tokens import UnknownTokens
from vaekit.errors import BadItem, BadPlan, NotFound, NoTrainingData, counted, did_you_mean, printable
from vaekit.reading import exists
from vaekit.shards import IN_PROCESS, Runner, Work, run_in_order
from vaekit.tasks.batch import Progress, no_progress
from vaekit.tasks.model import OpenModel
from vaekit.tasks.record import write_record
from vaekit.tasks.reference import FittedReference, ThresholdOptions, fit_reference, labelled_stream, normal_in
from vaekit.tasks.score_lines import Detection, Totals, check_scores_output, header_of, lines_of, record_beside
from vaekit.tasks.scorer import scorer_of
from vaekit.tasks.scoring import Part, Scoring, parts_of, start_scoring

DEFAULT = "default"
"""The score that suits the items of a VAE; see `score_of`."""


@dataclass(frozen=True)
class ScoreOptions:
    """How items are scored and flagged."""

    vae: str = "builtin"
    """The name or path of the VAE, beside which statistics of normal data are kept."""
    models: Sequence[Path] | None = None
    """The models folders; None for the user's own."""
    score: str = DEFAULT
    """One of `ALL_SCORES`; "default" is `per-token` for sequences, and `likelihood` for others."""
    reference: Path | None = None
    """Normal data, whose statistics and thresholds are computed and kept; None for those that were kept before."""
    threshold: ThresholdOptions = field(default_factory=ThresholdOptions)
    labels: str | None = None
    """The column of labels, of the items or of the reference."""
    normal: str | None = None
    """The label of normal items; None for a usual one."""
    limit: int | None = None
    """The maximum number of items; None for all."""
    draws: int | None = None
    """The number of latents for each item, see `Scorer`; None for that of the statistics, or `DRAWS`."""
    keep: Sequence[str] = ()
    """Columns of the data that are copied, such as an identifier."""


@dataclass(frozen=True, eq=False)
class ScoreResult:
    """What was scored."""

    out: Path
    items: int
    score: str
    not_scored: int
    reasons: dict[str, str]
    """By item, for the first ones that were not scored."""
    threshold: Threshold | None
    flagged: int
    seconds: float
    detection: Detection | None = None
    """None without labels of both kinds."""
    reference: Path | None = None
    """The file of the statistics of normal data."""
    reference_items: int = 0
    fitted: bool = False
    """Whether they were computed by this call."""
    notes: Sequence[str] = ()

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / max(self.seconds, 1e-9)


def score(
    model: OpenModel,
    data: Path,
    out: Path,
    options: ScoreOptions = ScoreOptions(),
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _: None,
    runner: Runner = IN_PROCESS,
) -> ScoreResult:
    """Write a CSV file with a line for each item: name, score (higher is more normal), whether it is flagged, the
    reason why it has no score, its label, and columns that are kept; and a record of the call beside it.

    Args:
        model: the VAE.
        data: the items.
        out: the CSV file.
        options: which score, and how thresholds are chosen.
        progress: called with the number of finished items and of all.
        say: called with a sentence before a long step.
        runner: computes the scores of batches; statistics of normal data are computed in this process.

    Raises:
        BadPlan: there is no such score, or the statistics were computed with another number of latents.
        NoPrior: the score needs a prior.
        NotFound, NoTrainingData: there are no items, or no such labels or columns; or the score needs statistics of
            normal data.
        BadReference: these are damaged, or of another VAE.
        BadItem: no item can be scored, or the reference has fewer than two.
        HalfMissing: the VAE lacks a half.
        CannotWrite: the disk is full, or the output exists and holds no scores.
    """
    options = replace(options, score=score_of(model, options.score))
    if not exists(data) and "{" not in data.name:  # before the reference takes its time
        raise not_found(data)
    check_scores_output(out, inputs_of(model, data, options))
    scorer = scorer_of(model, options.draws or DRAWS)
    check_has_prior(options.score, scorer.prior)
    if options.keep and options.reference is not None:  # missing columns are found before its statistics are computed
        labelled_stream(model, data, None, keep=options.keep)
    statistics = statistics_for(model, scorer, data, options, progress, say)
    reference = statistics.reference
    if reference is not None:
        check_same_draws(reference, options)
        scorer = replace(scorer, draws=reference.draws, seed=reference.seed)
    threshold = chosen_threshold(reference, options)
    totals, unknown = Totals(), UnknownTokens(model.schema, model.domain.items)
    start = time.monotonic()
    with atomic_file(out) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        items = labelled_stream(model, data, options.labels, required=not statistics.labelled, keep=options.keep)
        counted_items = replace(items, batches=unknown.of_batches(items.batches))
        work = Work(partial(start_scoring, Scoring(model, reference, options.score, scorer.draws, scorer.seed)))
        with closing(run_in_order(runner, work, parts_of(counted_items, options.limit))) as scored:
            write_scores(file, items, scored, threshold, options, totals, progress)
    result = ScoreResult(
        out,
        totals.items,
        options.score,
        totals.not_scored,
        totals.reasons,
        threshold,
        totals.flagged,
        time.monotonic() - start,
        totals.detection(),
        statistics.path,
        0 if reference is None else reference.items,
        statistics.fitted,
        (*statistics.notes, *unknown.note, *model.notes),
    )
    write_record(record_beside(out), record_of(result, model, data, options, scorer.draws))
    return result


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics of normal data for a call."""

    reference: Reference | None = None
    path: Path | None = None
    """Their file."""
    fitted: bool = False
    """Whether they were computed by this call."""
    labelled: bool = False
    """Whether the data had labels."""
    notes: Sequence[str] = ()


def statistics_for(
    model: OpenModel,
    scorer: Scorer,
    data: Path,
    options: ScoreOptions,
    progress: Progress,
    say: Callable[[str], None],
) -> Statistics:
    """Compute statistics of normal data and keep them beside the VAE, or load those that were kept."""
    if options.reference is None:
        path, reference = kept_reference(model, data, options)
        return Statistics(reference, path)
    say(f"Computing statistics of {options.reference}.")
    stream = labelled_stream(model, options.reference, options.labels, train=True)
    fitted = fit_reference(stream, scorer, options.threshold, options.normal, progress)
    path = save_beside(fitted.reference, options.vae, model.origin.fingerprint, options.models)
    return Statistics(
        fitted.reference, path, True, fitted.labelled, notes_on(fitted, model.domain.item, model.domain.items)
    )


def score_of(model: OpenModel, name: str) -> str:
    """The name of a score, or the default for the items of a VAE.

    Raises:
        BadPlan: there is none of this name.
    """
    if name == DEFAULT:
        return LIKELIHOOD if model.schema.example().is_floating_point() else PER_TOKEN
    check_score(name)
    return name


def check_score(name: str) -> None:
    """Check the name of a score.

    Raises:
        BadPlan: there is none of this name.
    """
    if name not in ALL_SCORES:
        raise BadPlan(
            f"There is no score {printable(name)!r}.",
            f"Expected one of {', '.join(ALL_SCORES)}.",
            did_you_mean(name, ALL_SCORES),
        )


def inputs_of(model: OpenModel, data: Path, options: ScoreOptions) -> list[Path]:
    """What a call reads, and the files of statistics that it may write beside the VAE."""
    given = [data] if options.reference is None else [data, options.reference]
    statistics = reference_paths(options.vae, model.origin.fingerprint, options.models)
    return [*given, *(path for each in statistics for path in (each, record_path(each)))]


def kept_reference(model: OpenModel, data: Path, options: ScoreOptions) -> tuple[Path | None, Reference | None]:
    """The statistics of normal data that were kept beside the VAE, and their file.

    Raises:
        NotFound: there are none, and they are needed.
        BadReference: they are damaged, or of another VAE.
    """
    fingerprint = model.origin.fingerprint
    path = find_reference(options.vae, fingerprint, options.models)
    if path is not None:
        return path, load_reference(path, fingerprint)
    if options.score in RELATIVE_SCORES or options.threshold.wanted:
        need = f"The score {options.score} needs" if options.score in RELATIVE_SCORES else "A threshold needs"
        vae = printable(options.vae, 300)
        raise NotFound(
            f"{need} statistics of normal data, and none were computed for {vae}.",
            "They are computed once from normal data and kept beside the VAE.",
            f"Compute them: `vaekit score {printable(str(data), 300)} --vae {vae} --reference NORMAL_DATA`.",
        )
    return None, None


def check_same_draws(reference: Reference, options: ScoreOptions) -> None:
    """Check that statistics were computed with the requested number of latents.

    Raises:
        BadPlan: they were computed with another one.
    """
    if options.draws not in (None, reference.draws):
        raise BadPlan(
            f"The statistics of normal data were computed with {counted(reference.draws, 'latent')} for each item, and "
            f"{options.draws} are requested.",
            "Scores of different numbers of latents cannot be compared.",
            "Omit --draws, or compute the statistics again with --reference NORMAL_DATA.",
        )


def chosen_threshold(reference: Reference | None, options: ScoreOptions) -> Threshold | None:
    """The threshold: that of the reference, or by another rule for this call only."""
    if reference is None:
        return None
    if options.reference is None and options.threshold.wanted and options.score in reference.scores:
        return options.threshold.threshold(reference.scores[options.score])
    return reference.thresholds.get(options.score)


def write_scores(
    file: IO[str],
    stream: ItemStream,
    scored: Iterable[tuple[Part, Tensor]],
    threshold: Threshold | None,
    options: ScoreOptions,
    totals: Totals,
    progress: Progress,
) -> None:
    """Write the lines of items batch by batch, as they are scored.

    Raises:
        BadItem: none can be scored.
        NoTrainingData: there are none, or the label of normal items is not known.
    """
    writer = csv.writer(file, lineterminator="\n")
    header = False
    known: str | None = None
    for part, values in scored:
        batch, count = part.batch, part.count
        if not header:
            writer.writerow(header_of(batch.labels is not None, batch.kept))
            header = True
        writer.writerows(lines_of(batch, values, threshold, totals))
        if batch.labels is not None:
            known = known or normal_in(stream, batch, options.normal)
            totals.add_labels(batch.labels[:count], values, known)
        totals.items += count
        total = stream.expected_total(totals.items)
        progress(totals.items, total if options.limit is None else min(total, options.limit))
    if totals.items == 0:
        raise NoTrainingData("The data hold no items.", "Expected at least one.", "Check the file.")
    if totals.not_scored == totals.items:
        raise BadItem(
            f"None of {counted(totals.items, 'item')} can be scored.",
            next(iter(totals.reasons.values()), ""),
            "Give items of the kind that the VAE was trained on.",
        )


def notes_on(fitted: FittedReference, item: str, items: str) -> list[str]:
    """Items of the reference that are not part of its statistics, as phrases."""
    left_out = (
        (fitted.anomalies, "with the label of an anomaly"),
        (fitted.unread, "that cannot be used"),
        (fitted.unlabelled, "without a label"),
    )
    return [f"left out of the reference: {counted(count, item, items)} {which}" for count, which in left_out if count]


def record_of(
    result: ScoreResult, model: OpenModel, data: Path, options: ScoreOptions, draws: int
) -> dict[str, object]:
    """The record of a call."""
    return {
        "vae": {"name": options.vae, **model.identity},
        "data": str(data),
        "score": options.score,
        "draws": draws,
        "keep": list(options.keep),
        "items": result.items,
        "not_scored": result.not_scored,
        "flagged": result.flagged,
        "threshold": None if result.threshold is None else asdict(result.threshold),
        "reference": None if result.reference is None else str(result.reference),
        "reference_items": result.reference_items,
        "detection": None if result.detection is None else asdict(result.detection),
        "seconds": result.seconds,
    }
