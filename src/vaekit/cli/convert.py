"""`vaekit convert`: write a VAE in another layout, format or dtype."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, log_note, print_facts, print_json
from vaekit.tasks.options import ModelOptions


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help=options.ANY_VAE)],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A .safetensors, .pt, .ckpt or .bin file; a folder for diffusers and tiny."),
    ],
    layout: Annotated[
        options.LayoutName | None,
        typer.Option("--layout", help="Naming scheme to write.", show_default="same as the input"),
    ] = None,
    dtype: options.StorageDtype = None,
    models: options.Models = None,
    padding: options.Padding = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Write a VAE in another layout, format or dtype, tensor for tensor.

    `diffusers` writes a folder with config.json, or one file if OUT has the suffix of a file; `ldm`, `original` (the
    names of the model's authors, where they differ from LDM's) and `native` write one file; `tiny` writes a folder with
    the encoder and the decoder of a tiny autoencoder, named after the folder as ComfyUI expects. A .pt or .ckpt file
    has the weights under "state_dict"; a .bin file has them at the top level.
    """
    from vaekit.tasks.convert import convert as run

    with bytes_moved("converting") as progress:
        done = run(
            ModelOptions(source, models, padding, weights), target, layout.value if layout else None, dtype, progress
        )
    log_note(source, done.note)
    log_note(source, done.problem)
    if as_json:
        print_json(vars(done))
    else:
        print_facts("converted", {name: value for name, value in vars(done).items() if name not in ("note", "problem")})
