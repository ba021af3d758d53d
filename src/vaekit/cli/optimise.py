"""`vaekit optimise`: more or less of a property, within bounds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import (
    failures_json,
    log,
    log_failures,
    log_notes,
    print_json,
    print_lines,
    print_table,
    progress_bar,
    spinner,
)
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.tasks.optimised import Optimised, OptimisedItem

SHOWN = 20
"""Items of a file in the table; --json has all."""


@options.with_records
def optimise(
    items: options.Given,
    wanted: Annotated[
        str,
        typer.Option(
            "--property",
            metavar="P",
            help="What to increase: a column of tables, or COLUMN=VALUE for the probability of a value; brightness, "
            "contrast, saturation, warmth or detail of images; QED, logP, SA and others of molecules; a column of "
            "numbers in --data; or a Python function of items, as module:function. -P decreases it.",
        ),
    ],
    *,
    source: ModelOptions,
    out: options.Out = Path("optimised"),
    minimise: Annotated[bool, typer.Option("--minimise", help="Decrease the property instead.")] = False,
    target: Annotated[
        float | None,
        typer.Option(
            "--target", metavar="VALUE", help="Approach this value of the property instead.", show_default="none"
        ),
    ] = None,
    within: Annotated[
        float,
        typer.Option(
            "--within",
            metavar="D",
            help="Maximum distance from the item in latent space, in standard deviations of the latents.",
        ),
    ] = 3.0,
    density: Annotated[
        float,
        typer.Option(
            "--density",
            metavar="Q",
            help="Minimum density of the latents, as a quantile of the densities of samples; 0 for none.",
        ),
    ] = 0.01,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Data whose latents define standard deviations and densities for --within and --density, and from "
            "whose labels a property is estimated that nothing else measures.",
            show_default="the prior of the VAE",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="gradient, cma-es, or auto: gradients where the property has them; of sentences and molecules, the "
            "gradient of a regression first, then cma-es.",
        ),
    ] = "auto",
    similarity: Annotated[
        float | None,
        typer.Option(
            "--similarity",
            metavar="MIN",
            min=0,
            max=1,
            help="Minimum similarity of the result to the item, by the measure of the domain, such as Tanimoto.",
            show_default="none",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            min=1,
            help="Gradient steps, or generations of CMA-ES.",
            show_default="200; 60 for sentences and molecules",
        ),
    ] = None,
    path: Annotated[
        int | None,
        typer.Option(
            "--path", metavar="N", min=0, help="Also write N items between each item and its result, as a sequence."
        ),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Also write original and result next to each other.")
    ] = False,
    seed: options.Seed = 0,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Change items so that a property increases, within bounds.

    Encodes each item, moves its latent towards more of the property, and decodes the result. The latent stays within
    --within of the item, and out of regions with a density below --density, where decoded items do not resemble the
    data. Results are written as `vaekit reconstruct` writes them. The property is measured on the written items, and
    again after these were encoded and decoded once more. Of sentences and molecules, every decoded candidate is
    measured, and the best one is the result; an item stays as it is if none is better within the bounds. See
    docs/optimise.md.
    """
    from vaekit.tasks.given import first_lines, given_files
    from vaekit.tasks.model import open_model
    from vaekit.tasks.optimise import optimise as run
    from vaekit.tasks.optimised import OptimiseOptions

    with spinner("loading the VAE"):
        model = open_model(source, engine)
    chosen = OptimiseOptions(wanted, minimise, target, within, density, method, steps, seed, data, path, similarity)
    paths = given_files(model, items, out)
    with progress_bar("steps") as progress:
        result = run(model, paths, out, chosen, side_by_side, progress)
    log_failures(result.batch)
    for file in result.batch.results:
        log_notes(file.source, file.notes)
    for note in model.notes:
        log(f"{source.vae}: {note}")
    for note in result.notes:
        log(note)
    if as_json:
        print_result_json(source.vae, result, model.items.files)
    else:
        print_results(source.vae, result)
        if paths != [*map(Path, items)]:
            print_lines(line for file in result.batch.results for line in first_lines(model, file.output))
        log(f"Written to {out}")
    if not result.batch.complete:
        raise typer.Exit(1)


def print_result_json(vae: str, result: "Optimised", files: str) -> None:
    """One JSON object on stdout."""
    from dataclasses import asdict

    facts = {
        "property": result.property,
        "goal": result.goal,
        "method": result.method,
        "similarity": result.similarity,
        "median_similarity": result.median_similarity(),
        "estimate": result.estimate,
        "record": str(result.record),
    }
    results = [asdict(file) for file in result.batch.results]
    print_json({"vae": vae, **facts, files: results, "failures": failures_json(result.batch)})


def print_results(vae: str, result: "Optimised") -> None:
    """A table for each file."""
    columns = ("item", "before", "reconstruction", "after", "after encoding again")
    alike = () if result.similarity is None else (result.similarity,)
    for file in result.batch.results:
        rows = [row_of(item, bool(alike)) for item in file.items[:SHOWN]]
        more = len(file.items) - SHOWN
        if len(file.items) > 1:
            rows.append(mean_row(file.items, bool(alike)))
        shown = f" (the first {SHOWN} of {len(file.items):,})" if more > 0 else ""
        title = f"{vae}: {result.property} {result.goal}, by {result.method}{shown}"
        print_table(title, (*columns, *alike, "moved", "bound reached"), rows)
    similarity = result.median_similarity()
    if similarity is not None:
        log(f"Median {result.similarity} of results and items: {similarity:.2f}")
    if result.estimate is not None:
        log(f"Regression of {result.property} on latents: {result.estimate}")


def row_of(item: "OptimisedItem", alike: bool) -> list[str]:
    """One row of the table, with the similarity if there is a measure."""
    values = (item.before, item.reconstruction, item.after, item.confirmed)
    similarity = [f"{item.similarity:.2f}" if item.similarity is not None else ""] if alike else []
    bounds = ", ".join(item.active) or "none"
    moved = "unchanged" if item.unchanged else f"{item.moved:.2f} std"
    name = f"{item.name} {item.title}".strip()
    return [name, *(f"{each:.5g}" for each in values), *similarity, moved, bounds]


def mean_row(items: "tuple[OptimisedItem, ...]", alike: bool) -> list[str]:
    """The means over items whose values are finite."""
    from math import isfinite

    values = [(each.before, each.reconstruction, each.after, each.confirmed) for each in items]
    known = [each for each in values if all(map(isfinite, each))]
    means = [f"{sum(each) / len(known):.5g}" for each in zip(*known, strict=True)] or [""] * 4
    similar = [each.similarity for each in items if each.similarity is not None and isfinite(each.similarity)]
    similarity = [f"{sum(similar) / len(similar):.2f}" if similar else ""] if alike else []
    moved = sum(item.moved for item in items) / len(items)
    reached = f"{sum(bool(item.active) for item in items):,} of {len(items):,}"
    return ["mean", *means, *similarity, f"{moved:.2f} std", reached]
