"""`vaekit index`: embed items, and keep their vectors on disk."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import Lines, log, print_facts, print_json, progress_bar, spinner
from vaekit.cli.runner_options import RunnerOptions
from vaekit.errors import counted
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.tasks.index import IndexResult

BATCH = 64
"""Items that the VAE encodes at once, as memory allows."""
SHOWN_SKIPPED = 20
PRECISION_NAMES = {"histogram": "color histogram", "pca": "principal components"}
"""Names in the JSON output -> names for people, where they differ; what is "pixels" of images is "values" of others."""


class Store(StrEnum):
    """Ways to search an index."""

    AUTO = "auto"
    EXACT = "exact"
    LANCEDB = "lancedb"


@options.with_records
def index(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Items of the VAE's kind: a folder, tar, Parquet, npz, CSV, text file."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="INDEX", help="Folder of the index.")],
    *,
    source: ModelOptions,
    embed: Annotated[
        str,
        typer.Option(
            "--embed",
            metavar="EMBEDDING",
            help="look (the VAE's latents), meaning (a small network on top, trained on the data), or your own Python "
            "function as module:function.",
        ),
    ] = "look",
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="COLUMN",
            help="Column of labels, which are shown, measured, and used by meaning.",
            show_default="a usual name, class folders",
        ),
    ] = None,
    store: Annotated[
        Store, typer.Option("--store", help="How the index is searched; auto: LanceDB from 100,000 items on.")
    ] = Store.AUTO,
    seed: options.Seed = 0,
    engine: EngineOptions,
    running: RunnerOptions,
    as_json: options.Json = False,
) -> None:
    """Index items, so that similar ones are found.

    Embeds every item as a vector and keeps the vectors in a folder. The same command brings the index up to date: it
    embeds new and edited items only, removes those that are gone, and goes on after an interruption. Prints recall@10
    of the search and, where there are labels, precision@10 beside pixels, color histograms and principal components.
    """
    from vaekit.tasks.index import IndexOptions
    from vaekit.tasks.index import index as run
    from vaekit.tasks.model import open_model

    runner = running.make(engine.device)
    with spinner("loading the VAE"):
        model = open_model(source, replace(engine, batch=BATCH))
    with progress_bar(model.domain.items, "opening the data") as progress:
        result = run(model, data, out, IndexOptions(embed, label, store.value, source.vae, seed), progress, log, runner)
    for note in result.notes:
        log(note)
    log_skipped(result)
    if as_json:
        print_json({"vae": source.vae, **result.as_json()})
    else:
        show(result, model.domain.items)
        log(f"Written to {out}")


def show(result: "IndexResult", items: str) -> None:
    """Print what was done, and the quality of the index."""
    changes, quality = result.changes, result.quality
    counts = {name: getattr(changes, name) for name in ("added", "edited", "unchanged", "removed")}
    done = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    facts: dict[str, Lines] = {items: f"{result.items:,}", "changes": done}
    if changes.skipped:
        facts["skipped"] = f"{len(changes.skipped):,}"
    minutes, seconds = divmod(round(changes.seconds), 60)
    rate = f", {result.rate:,.0f} {items}/s embedded" if changes.embedded else ""
    facts["time"] = f"{minutes} min {seconds} s{rate}" if minutes else f"{changes.seconds:.1f} s{rate}"
    facts["vectors"] = f"{result.dimension:,} values, {result.embedding.get('embedding', '')}"
    how = "an exact scan" if quality.store == "exact" else f"{quality.store}, against an exact scan"
    facts["recall@10"] = f"{quality.recall:.3f} ({how})"
    if quality.precision:
        names = PRECISION_NAMES if "histogram" in quality.precision else {**PRECISION_NAMES, "pixels": "values"}
        facts["precision@10"] = [f"{value:.3f} {names.get(name, name)}" for name, value in quality.precision.items()]
    if quality.remark:
        facts["note"] = quality.remark
    print_facts(f"{result.folder}: index", facts)


def log_skipped(result: "IndexResult") -> None:
    """The first skipped items, with reasons, on stderr."""
    skipped = result.changes.skipped
    for name, reason in list(skipped.items())[:SHOWN_SKIPPED]:
        log(f"vaekit: skipped {name}: {reason}" if name not in reason else f"vaekit: skipped: {reason}")
    if len(skipped) > SHOWN_SKIPPED:
        log(f"vaekit: {counted(len(skipped) - SHOWN_SKIPPED, 'more was', 'more were')} skipped; --json lists all.")
