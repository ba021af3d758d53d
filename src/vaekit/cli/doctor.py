"""`vaekit doctor`: the health of a VAE."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import Failure, console, log, print_json, progress_bar, spinner
from vaekit.errors import VaekitError

if TYPE_CHECKING:
    from torch import Tensor

    from vaekit.catalog.entries import CatalogEntry
    from vaekit.doctor.findings import Finding
    from vaekit.geometry import Geometry
    from vaekit.vae import VAE

MARKS = {"ok": ("✓", "ok", "green"), "warning": ("!", "warning", "yellow"), "wrong": ("✗", "wrong", "bold red")}
MARKS |= {"skipped": ("-", "skipped", "dim")}
"""A sign, a word and a color for each status: none of them alone."""


def doctor(
    vae: options.Vae = "builtin",
    models: options.Models = None,
    paths: options.Folder = None,
    most: Annotated[
        int, typer.Option("--most", min=1, metavar="N", help="Look at so many of the images, evenly spread.")
    ] = 16,
    padding: options.Padding = None,
    as_json: options.Json = False,
) -> None:
    """Examine the health of a VAE.

    Looks for numbers that are not finite, for layers that leave the range of fp16, for what rounding costs; measures
    the latents against the normalization and the card, finds dead channels, halves that do not belong together, grids
    and rims on flat colors, and says how evenly the image follows the latent. It is run on the CPU, on built-in
    images and on yours, reduced to the same size. Exit status 1 where something is wrong; warnings alone give 0.
    """
    from vaekit.doctor.examine import CHECKS, examine
    from vaekit.doctor.findings import worst

    with spinner("looking at the VAE"):
        network, card = loaded(vae, models, padding)
    images, failures = read(paths, network.geometry, most) if paths else (None, [])
    findings = []
    with progress_bar("checks") as progress:
        progress(0, len(CHECKS))
        for finding in examine(network, images, card):
            findings.append(finding)
            progress(len(findings), len(CHECKS))
    status = worst(findings)
    if as_json:
        shown = 0 if images is None else len(images)
        told = {"vae": vae, "card": card and card.name, "status": status, "images": shown}
        rest = {"failures": [vars(each) for each in failures], "findings": [vars(finding) for finding in findings]}
        print_json(told | rest)
    else:
        print_findings(vae, status, findings)
    if status == "wrong":
        raise typer.Exit(1)


def loaded(name: str, models: list[Path] | None, padding: str | None) -> "tuple[VAE, CatalogEntry | None]":
    """The VAE, and the card of its very weights where it has one."""
    from vaekit.identification.build import Network
    from vaekit.identification.identify import identify
    from vaekit.identification.resolve import match_file, resolve
    from vaekit.library.names import locate_vae

    with locate_vae(name, models) as path:
        network = Network()
        identified = resolve(identify(path), padding=padding, network=network)
        return network.of(identified), match_file(identified).card


def read(paths: list[Path], geometry: "Geometry", most: int) -> "tuple[Tensor | None, list[Failure]]":
    """Some of the images, square and in the size that the VAE is shown, and those that cannot be read."""
    import torch

    from vaekit.doctor.observe import image_side
    from vaekit.domains.images.preparation import square
    from vaekit.domains.images.read import find_images, read_image

    found = list(find_images(paths))
    chosen = [found[i * len(found) // min(most, len(found))] for i in range(min(most, len(found)))]
    images, failures = [], []
    for path in chosen:
        try:
            images.append(square(read_image(path).pixels, image_side(geometry)))
        except VaekitError as error:
            failures.append(Failure(str(path), str(error)))
            log(f"vaekit: {error}")
    return torch.cat(images) if images else None, failures


def print_findings(vae: str, status: str, findings: "Sequence[Finding]") -> None:
    """What was found, worst and best in the order of the checks, then what to do."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(title=f"{vae}: {SUMMARY[status]}", title_justify="left", title_style="bold", box=None)
    table.add_column("", no_wrap=True)
    table.add_column("check", header_style="dim", no_wrap=True)
    table.add_column("what was seen", header_style="dim", overflow="fold")
    for finding in findings:
        mark, word, style = MARKS[finding.status]
        words = Text(finding.words, style="dim" if finding.status == "skipped" else "")
        table.add_row(Text(f"{mark} {word}", style=style), TITLES[finding.name], words)
    out.print(table)
    told = [finding for finding in findings if finding.remedy]
    if told:
        remedies = Table(title="What to do", title_justify="left", title_style="bold", box=None, show_header=False)
        remedies.add_column(no_wrap=True)
        remedies.add_column(overflow="fold")
        for finding in told:
            mark, _, style = MARKS[finding.status]
            remedies.add_row(Text(f"{mark} {TITLES[finding.name]}", style=style), finding.remedy)
        out.print()
        out.print(remedies)


SUMMARY: dict[str, Any] = {
    "ok": "healthy",
    "warning": "works, with something to know",
    "wrong": "something is wrong",
    "skipped": "nothing could be checked",
}
TITLES = {
    "weights": "weights",
    "activations": "activations",
    "fp16_range": "range of fp16",
    "rounding": "rounding",
    "normalization": "normalization",
    "channels": "latent channels",
    "match": "halves match",
    "equivariance": "equivariance",
    "smoothness": "smoothness",
    "grid": "grid",
    "border": "border",
}
"""What the checks are called in the table."""
