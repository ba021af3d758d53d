"""`vaekit doctor`: examine the health of a VAE."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import console, log, log_note, print_json, progress_bar
from vaekit.errors import visible
from vaekit.tasks.options import ModelOptions

if TYPE_CHECKING:
    from vaekit.doctor.findings import Finding

MARKS = {"ok": ("✓", "ok", "green"), "warning": ("!", "warning", "yellow"), "wrong": ("✗", "wrong", "bold red")}
MARKS |= {"skipped": ("-", "skipped", "dim")}
"""A sign, a word and a color for each status: none of them alone."""


def doctor(
    vae: options.Vae = "builtin",
    models: options.Models = None,
    paths: options.Folder = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "--most", metavar="N", min=1, help="Maximum number of images (deterministic subset)."),
    ] = 16,
    padding: options.Padding = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Examine the health of a VAE.

    Looks for non-finite weights, layers that leave the range of fp16 and rounding errors; compares the latents with the
    latent normalization and the catalog; finds dead channels, an encoder and a decoder that do not match, grids and
    borders on flat colors; and measures how smoothly images follow the latents. It runs on the CPU, on built-in images
    and on yours, resized to the same size. VAEs of sounds are examined on sounds, without the checks of pixels. Exit
    status 1 if something is wrong; warnings alone give 0.
    """
    from vaekit.tasks.doctor import doctor as run

    with progress_bar("checks", before="loading the VAE") as progress:
        diagnosis = run(ModelOptions(vae, models, padding, weights), paths or (), limit, progress)
    log_note(vae, diagnosis.note)
    for failure in diagnosis.failures:
        log(f"vaekit: {failure.error}")
    if as_json:
        print_json(
            {
                "vae": vae,
                "catalog_entry": diagnosis.entry and diagnosis.entry.name,
                "status": diagnosis.status,
                "images": diagnosis.images,
                "failures": [vars(failure) for failure in diagnosis.failures],
                "findings": [vars(finding) for finding in diagnosis.findings],
            }
        )
    else:
        print_findings(vae, diagnosis.status, diagnosis.findings)
    if diagnosis.status == "wrong":
        raise typer.Exit(1)


def print_findings(vae: str, status: str, findings: "Sequence[Finding]") -> None:
    """The findings in the order of the checks, then the remedies."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(title=visible(f"{vae}: {SUMMARY[status]}"), title_justify="left", title_style="bold", box=None)
    table.add_column("", no_wrap=True)
    table.add_column("check", header_style="dim", no_wrap=True)
    table.add_column("finding", header_style="dim", overflow="fold")
    for finding in findings:
        mark, word, style = MARKS[finding.status]
        words = Text(visible(finding.message), style="dim" if finding.status == "skipped" else "")
        table.add_row(Text(f"{mark} {word}", style=style), TITLES[finding.name], words)
    out.print(table)
    with_remedy = [finding for finding in findings if finding.remedy]
    if with_remedy:
        remedies = Table(title="Remedies", title_justify="left", title_style="bold", box=None, show_header=False)
        remedies.add_column(no_wrap=True)
        remedies.add_column(overflow="fold")
        for finding in with_remedy:
            mark, _, style = MARKS[finding.status]
            remedies.add_row(Text(f"{mark} {TITLES[finding.name]}", style=style), visible(finding.remedy))
        out.print()
        out.print(remedies)


SUMMARY = {
    "ok": "healthy",
    "warning": "works, with warnings",
    "wrong": "something is wrong",
    "skipped": "nothing could be checked",
}
TITLES = {
    "weights": "weights",
    "activations": "activations",
    "fp16_range": "fp16 range",
    "rounding": "rounding",
    "normalization": "normalization",
    "channels": "latent channels",
    "match": "encoder and decoder",
    "equivariance": "equivariance",
    "smoothness": "smoothness",
    "grid": "grid",
    "border": "border",
}
"""The names of the checks in the table."""
