"""`vaekit score`: how normal items are, and which are anomalies."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import Lines, log, print_facts, print_json, print_table, progress_bar, spinner
from vaekit.cli.runner_options import RunnerOptions
from vaekit.errors import counted
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.anomaly.thresholds import Threshold
    from vaekit.tasks.score import ScoreResult


BATCH = 64
"""Latents of an image that are decoded at once, as memory allows."""


class Score(StrEnum):
    """Scores of items."""

    LIKELIHOOD = "likelihood"
    ELBO = "elbo"
    RECONSTRUCTION = "reconstruction"
    KL = "kl"
    MAHALANOBIS = "mahalanobis"
    NEIGHBORS = "neighbors"
    ENSEMBLE = "ensemble"
    LOCAL = "local"
    PER_TOKEN = "per-token"


@options.with_records
def score(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="Items of the kind that the VAE takes: a file, such as a table, or a folder; or sentences and SMILES "
            "themselves.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The CSV file to write.")] = Path(
        "scores.csv"
    ),
    *,
    source: ModelOptions,
    name: Annotated[
        Score | None,
        typer.Option(
            "--score",
            help="likelihood: log p(x) by importance weighting; per-token: the same, divided by the tokens of a "
            "sentence or molecule; elbo, and its parts reconstruction and kl; local: the least probable region of an "
            "image; mahalanobis and neighbors: distances of latents from those of the reference; ensemble: likelihood "
            "and neighbors combined.",
            show_default="likelihood; per-token for sentences and molecules",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="DATA",
            help="Normal data. Their statistics and thresholds are computed, and kept beside the VAE for later calls.",
            show_default="those that were kept before",
        ),
    ] = None,
    contamination: Annotated[
        float | None,
        typer.Option(
            "--contamination",
            metavar="SHARE",
            min=0,
            max=0.5,
            help="Set the threshold so that this share of the reference is flagged.",
            show_default="0.05",
        ),
    ] = None,
    false_positive_rate: Annotated[
        float | None,
        typer.Option(
            "--false-positive-rate",
            metavar="SHARE",
            min=0,
            max=0.5,
            help="Set the threshold so that at most this share of new normal items is flagged. The reference must not "
            "be the training data.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="COLUMN",
            help="Column of labels. If DATA have it, AUROC and average precision are printed; if the reference has it, "
            "the threshold is that of the highest F1. `folder` takes class folders.",
        ),
    ] = None,
    normal: Annotated[
        str | None,
        typer.Option(
            "--normal",
            metavar="LABEL",
            help="Label of normal items in that column.",
            show_default="0, good, normal, ...",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Score the first N items only.", show_default="all"),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Also write an HTML page: histogram of scores, ROC curve where labels are known, and the most "
            "improbable items with their reasons.",
            show_default="none",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            "--draws",
            metavar="N",
            min=1,
            max=65536,
            help="Number of latents that are decoded for each item. Fewer are faster, and the score is less exact.",
            show_default="those of the reference, else 64",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="COLUMN",
            help="Column of DATA to copy into the file, such as an identifier; may be repeated.",
            show_default="none",
        ),
    ] = None,
    engine: EngineOptions,
    running: RunnerOptions,
    as_json: options.Json = False,
) -> None:
    """Score how normal items are, and flag anomalies.

    Writes a CSV file with a line for each item, in order: item, score (higher is more normal), flagged (1 or 0, where a
    threshold is known), the reason why an item has no score, its label, and the columns of --keep. Scores are
    deterministic and independent of the other items. Thresholds, and the scores mahalanobis, neighbors and ensemble,
    need --reference, in this call or an earlier one. If data have a test split, it is scored; of a reference, the
    training split is used. See docs/anomaly.md.
    """
    from vaekit.tasks.given import FOLDER, SHOWN, first_lines, given_files
    from vaekit.tasks.model import open_model
    from vaekit.tasks.reference import ThresholdOptions
    from vaekit.tasks.score import DEFAULT, ScoreOptions
    from vaekit.tasks.score import score as run
    from vaekit.tasks.score_lines import first_scores
    from vaekit.tasks.score_page import check_page, write_score_page

    if contamination is not None and false_positive_rate is not None:
        raise typer.BadParameter("it excludes --false-positive-rate.", param_hint="--contamination")
    runner = running.make(engine.device)
    with spinner("loading the VAE"):
        model = open_model(source, replace(engine, batch=BATCH))
    data, *others = given_files(model, given, out.parent, f"{out.stem}.{FOLDER}")
    if others:
        raise typer.BadParameter(f"{len(given)} were given; expected one file or folder.", param_hint="DATA")
    if page is not None:
        check_page(page, [data, out, *([] if reference is None else [reference])])
    threshold = ThresholdOptions(contamination, false_positive_rate)
    wanted = ScoreOptions(
        source.vae,
        source.models,
        DEFAULT if name is None else name.value,
        reference,
        threshold,
        labels,
        normal,
        limit,
        draws,
        tuple(dict.fromkeys(keep or ())),
    )
    with progress_bar(model.domain.items, "opening the data") as progress:
        result = run(model, data, out, wanted, progress, log, runner)
    if page is not None:
        write_score_page(model, data, result, wanted, page, log)
    for note in result.notes:
        log(note)
    for item, reason in result.reasons.items():
        log(f"vaekit: not scored: {reason}" if item in reason else f"vaekit: not scored: {item}: {reason}")
    if result.not_scored > len(result.reasons):
        more = counted(result.not_scored - len(result.reasons), "more was", "more were")
        log(f"vaekit: {more} not scored; {out} has the reasons.")
    if as_json:
        print_json({"vae": source.vae, **vars(result), "rate": result.rate})
        return
    show(result, model.domain.items)
    if [data] != [*map(Path, given)]:
        scores = [f"{value:.6g}" for value in first_scores(out, SHOWN)]
        pairs = zip(first_lines(model, data), scores, strict=False)
        print_table("Scores", (model.domain.item, result.score), pairs)
    if result.threshold is None:
        log(f"Without a threshold, no {model.domain.item} is flagged; --reference NORMAL_DATA computes one.")
    log(f"Written to {out}{'' if page is None else f' and {page}'}")


def show(result: "ScoreResult", items: str) -> None:
    """Print what was scored."""
    facts: dict[str, Lines] = {items: f"{result.items:,}"}
    if result.not_scored:
        facts["not scored"] = f"{result.not_scored:,}"
    facts["score"] = f"{result.score} (higher is more normal)"
    if result.threshold is not None:
        scored = result.items - result.not_scored
        facts["flagged"] = f"{result.flagged:,} ({result.flagged / max(1, scored):.1%})"
        facts["threshold"] = threshold_text(result.threshold, items)
    if result.detection is not None:
        found = result.detection
        facts["AUROC"] = f"{found.auroc:.4f} ({found.normal:,} normal, {found.anomalies:,} anomalous)"
        facts["average precision"] = f"{found.average_precision:.4f}"
    if result.reference is not None:
        verb = "written to" if result.fitted else "from"
        facts["reference"] = f"{result.reference_items:,} {items}, {verb} {result.reference}"
    facts["time"] = f"{result.seconds:.1f} s, {result.rate:,.0f} {items}/s"
    print_facts(f"{result.out}: scores", facts)


def threshold_text(threshold: "Threshold", items: str) -> str:
    """A threshold and its rule as text."""
    rules = {
        "contamination": "contamination",
        "false_positive_rate": "false-positive rate",
        "f1": "highest F1",
        "youden": "highest Youden's J",
    }
    wanted = "" if threshold.wanted is None else f" {threshold.wanted:g}"
    quality = (
        "" if threshold.recall is None else f", precision {threshold.precision:.3f}, recall {threshold.recall:.3f}"
    )
    return f"{threshold.value:.6g}: {rules[threshold.rule]}{wanted} of {threshold.items:,} {items}{quality}"
