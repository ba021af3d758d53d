"""`vaekit direction`: learn a direction in latent space from labelled items."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_facts, print_json, print_table, progress_bar, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.latents.probes import Score
    from vaekit.tasks.direction import DirectionResult

SHOWN = 20
"""Side effects in the table; --json has all."""
BATCH = 32
"""Items that are encoded at once."""
DECODED = "after decoding"
FOLLOWED = 0.25
"""Share of the change that is left after decoding, below which the decoder hardly follows."""
POOR = 0.1
"""Explained share of the label below which a direction hardly means anything."""


@options.with_records
def direction(
    labelled: Annotated[
        list[Path],
        typer.Argument(
            metavar="LABELLED",
            help="Labelled data: class folders, a table with a label column, npz with labels, MNIST's idx files, tars; "
            "or several paths, each with the items of one class.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The direction's file (safetensors).")],
    *,
    source: ModelOptions,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="COLUMN", help="The column of labels.", show_default="label, class, y, ..., folder"
        ),
    ] = None,
    wanted: Annotated[
        str | None,
        typer.Option(
            "--property",
            metavar="P",
            help="A property that is computed of the items, which need no labels then: QED, logP, SA and others of "
            "molecules, brightness and others of images, or a Python function, as for `vaekit optimise`.",
            show_default="none",
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            "--positive",
            metavar="CLASS",
            help="The class that the direction leads to, away from all others.",
            show_default="the last of two",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="mean: difference of class means, or slope of the latents on numbers; ridge: ridge regression.",
        ),
    ] = "mean",
    orthogonal_to: Annotated[
        list[Path] | None,
        typer.Option(
            "--orthogonal-to",
            metavar="FILE",
            help="A direction whose label should not change; may be repeated.",
            show_default="none",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the direction.", show_default="that of label or class"),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--map", help="Learn a different vector for each position of the latents, for aligned items of one size."
        ),
    ] = False,
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Change differences between positions, such as contrast, instead of their mean."),
    ] = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Learn a direction in latent space from labelled items, or from a property of items.

    The direction leads from one class to another, or to higher values of a number. One step is one standard deviation
    of the data along it. Prints how well positions along it predict labels of items that it was not fitted to
    (cross-validation), and the side effects of one step: the change of other labels, in their standard deviations, as
    linear probes estimate it; and again for a few items that were moved, decoded and encoded again.
    Latents that are maps move by the same amount at every position; with --map, by different ones; with --spread, away
    from their mean.
    """
    from vaekit.tasks.direction import DirectionOptions
    from vaekit.tasks.direction import direction as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, replace(engine, batch=BATCH))
    chosen = DirectionOptions(
        label, positive, method, tuple(orthogonal_to or ()), name, whole, spread, limit, seed, wanted
    )
    with progress_bar(model.domain.items) as progress:
        result = run(model, labelled, out, chosen, progress)
    log_note(source.vae, "; ".join(model.notes))
    for note in result.notes:
        log(note)
    if as_json:
        from dataclasses import asdict

        print_json({"vae": source.vae, **asdict(result)})
        return
    print_facts(f"{source.vae}: direction {result.name}", facts_of(result))
    print_effects(result)
    score = result.score
    if score is None:
        log("There are too few items to measure how well the direction predicts labels of others.")
    elif score.explained < POOR:
        log("The direction hardly predicts labels of other items: it means little. Give more data, or another label.")
    elif result.decoded_step is not None and result.decoded_step < FOLLOWED * result.step:
        log(
            "The decoder hardly follows the direction: little of the change is left after decoding. Try another method."
        )
    log(f"Written to {result.file}")


def facts_of(result: "DirectionResult") -> dict[str, str]:
    """What is printed of a direction, by title."""
    leads = "to higher values" if result.classes is None else f"from {result.classes[0]} to {result.classes[1]}"
    step = step_text(result, result.step)
    decoded = "" if result.decoded_step is None else step_text(result, result.decoded_step)
    where = "x".join(map(str, result.positions)) if result.positions else "all, by the same amount"
    return {
        "label": f"{result.label} ({result.items:,} items)",
        "leads": leads,
        "one step": f"{result.std:.4g} in latent space",
        "in the data": f"{result.distance:.3g} steps {'per unit' if result.classes is None else 'between the classes'}",
        "changes the label by": step,
        **({"after decoding": decoded} if decoded else {}),
        **({"positions moved": where} if result.positions or result.everywhere else {}),
        "predicts held-out labels": score_text(result.score),
        "best linear probe": score_text(result.probe_score),
    }


def print_effects(result: "DirectionResult") -> None:
    """Tables of side effects."""
    if result.others:
        rows = [
            [each.label, change_text(before.change), change_text(each.change), change_text(each.decoded)]
            for each, before in zip(result.others, result.without, strict=True)
        ]
        print_table("Other directions, per step", ("direction", "without --orthogonal-to", "change", DECODED), rows)
    if result.side_effects:
        rows = [
            [each.label, change_text(each.change), change_text(each.decoded), score_text(each.score)]
            for each in result.side_effects[:SHOWN]
        ]
        more = len(result.side_effects) - SHOWN
        title = "Side effects, per step" + (f" (the largest {SHOWN} of {more + SHOWN})" if more > 0 else "")
        print_table(title, ("label", "change", DECODED, "probe, held out"), rows)


def step_text(result: "DirectionResult", step: float) -> str:
    """The change of the label by one step."""
    if result.classes is None:
        return f"{step:+.4g}"
    return f"{step:+.0%} of the way from {result.classes[0]} to {result.classes[1]}"


def change_text(change: float | None) -> str:
    """A change of a label."""
    return "not measured" if change is None else f"{change:+.3f} std"


def score_text(score: "Score | None") -> str:
    """A score, for people."""
    if score is None:
        return "not measured"
    if score.r2 is not None:
        return f"R2 {score.r2:.3f}"
    return f"accuracy {score.accuracy:.1%}, AUC {score.auc:.3f}"
