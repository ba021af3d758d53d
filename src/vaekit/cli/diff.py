"""`vaekit diff`: compare two VAE files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import Lines, log, log_note, print_facts, print_json, print_table, progress_bar
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.checkpoints.diff import FileDifference, TensorDifference
    from vaekit.tasks.diff import ImageDifference

COLUMNS = ("tensor", "status", "relative", "largest", "")
MOST_LINES = 10
"""Differences between two schemas."""
IMAGE_COLUMNS = ("image", "status", "largest", "changed", "PSNR")


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=options.ANY_VAE)],
    other: Annotated[str, typer.Argument(metavar="B", help="The VAE to compare it with.")],
    images: Annotated[
        list[Path] | None,
        typer.Option("--images", metavar="PATH", help="Also compare reconstructions of these images; may be repeated."),
    ] = None,
    show: Annotated[
        int, typer.Option("--show", metavar="N", min=0, help="Maximum number of tensors in the table.")
    ] = 10,
    models: options.Models = None,
    device: options.Device = None,
    weights: options.EachWeights = None,
    as_json: options.Json = False,
) -> None:
    """Compare two VAE files tensor by tensor.

    Layouts, formats, prefixes and dtypes do not matter: tensors are compared under their native names. A tensor is
    `close` if all values differ by no more than rounding to half precision; "relative" is the root mean square of the
    difference over that of A. Also compares config, domain, schema and latent normalization, and with --images the
    8-bit reconstructions (`close`: by at most 1). Exit status 1 if the VAEs differ.
    """
    from vaekit.tasks.diff import diff as run

    with progress_bar("comparing") as progress:
        kinds = options.weights_of_each(weights, 2)
        a, b = (ModelOptions(vae, models, weights=kind) for vae, kind in zip((one, other), kinds, strict=True))
        result = run(a, b, images or (), EngineOptions(device=device), progress)
    for name, note in zip((one, other), result.files.notes, strict=True):
        log_note(name, note)
    for failure in result.failures:
        log(f"vaekit: {failure.error}")
    if as_json:
        files = {**vars(result.files), "tensors": [vars(tensor) for tensor in result.files.tensors]}
        print_json(
            {
                "a": one,
                "b": other,
                "same": result.same,
                **files,
                "images": [vars(image) for image in result.images],
                "failures": [vars(failure) for failure in result.failures],
            }
        )
    else:
        print_facts(f"{one} and {other}", facts_of(result.files))
        if rows := [row(tensor) for tensor in result.files.largest(show)]:
            print_table("Largest differences", COLUMNS, rows, left=2)
        if result.images:
            print_table("Reconstructions", IMAGE_COLUMNS, [image_row(image) for image in result.images], left=2)
    if not result.same or result.failures:
        raise typer.Exit(1)


def facts_of(files: "FileDifference") -> dict[str, Lines]:
    """The table of facts."""
    same = {True: "the same", False: "different", None: "cannot be compared"}[files.same_normalization]
    one_family = files.families[0] == files.families[1]
    return {
        "result": "the same VAE" if files.same else "different VAEs",
        "tensors": ", ".join(f"{count:,} {status}" for status, count in files.counts.items()),
        "family": pair(files.families),
        "layout": pair(files.layouts),
        "domain": pair(files.domains),
        **({"schema": shown(files.schema)} if files.schema else {}),
        "config": tuple(files.config) or ("the same" if one_family else "cannot be compared"),
        "normalization": f"{same} ({pair(files.normalizations)})",
    }


def shown(differences: Sequence[str]) -> Lines:
    """The first differences, and the number of the others: a vocabulary may differ in thousands of places."""
    others = len(differences) - MOST_LINES
    return (*differences[:MOST_LINES], *((f"and {others:,} more",) if others > 0 else ()))


def pair(values: tuple[str, str]) -> str:
    """Two values, or one if they are equal."""
    return values[0] if values[0] == values[1] else f"{values[0]} and {values[1]}"


def row(tensor: "TensorDifference") -> list[str]:
    """One line of the table of tensors."""
    numbers = ["" if value is None else f"{value:.3g}" for value in (tensor.relative, tensor.largest)]
    return [tensor.name, tensor.status, *numbers, tensor.note]


def image_row(image: "ImageDifference") -> list[str]:
    """One line of the table of images."""
    return [image.image.name, image.status, f"{image.largest:.0f}", f"{image.changed:.2%}", f"{image.psnr:.2f} dB"]
