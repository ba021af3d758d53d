"""`vaekit explain`: why items are improbable."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_json, print_table, progress_bar, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.tasks.explain import ExplainResult


@options.with_records
def explain(
    items: options.Given,
    *,
    source: ModelOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for heat maps of images.", show_default="none written"),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=1, help="Explain the N most improbable of the items.")
    ] = 16,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Explain why items are improbable: the columns or regions that contribute most to their score.

    A contribution is -log p of a part given the latent, in nats. If `vaekit score --reference` computed statistics of
    normal data, their mean contribution is subtracted. With --out, images get a heat map beside the original and the
    reconstruction. A row may be named as in the file of scores: rows.csv:172. See docs/anomaly.md.
    """
    from vaekit.tasks.explain import ExplainOptions
    from vaekit.tasks.explain import explain as run
    from vaekit.tasks.given import given_or_temporary
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine)
    with (
        given_or_temporary(model, items, out) as paths,
        progress_bar(model.domain.items, "opening the data") as progress,
    ):
        result = run(model, paths, out, ExplainOptions(source.vae, source.models, most), progress)
    log_note(source.vae, "; ".join(model.notes))
    for name, reason in result.not_scored.items():
        log(f"vaekit: not scored: {reason}" if name in reason else f"vaekit: not scored: {name}: {reason}")
    if as_json:
        print_json({"vae": source.vae, **vars(result)})
        return
    show(result, f"{source.vae}: contributions to -log p")
    if result.reference is None:
        log("Contributions are not compared with normal data; `vaekit score --reference DATA` prepares that.")
    if out is not None and any(each.files for each in result.explanations):
        log(f"Written to {out}")


def show(result: "ExplainResult", title: str) -> None:
    """Print the reasons of all items."""
    rows = [dict(row) for each in result.explanations for row in each.cells()]
    if not rows:
        log("No part of these items is less probable than in normal ones.")
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_table(title, columns, [[row.get(name, "") for name in columns] for row in rows], left=len(columns) - 1)
