"""`vaekit convert`: a VAE into another layout, format or dtype."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, print_facts, print_json


class LayoutName(StrEnum):
    """Layouts that can be written."""

    NATIVE = "native"
    DIFFUSERS = "diffusers"
    LDM = "ldm"
    ORIGINAL = "original"
    TINY = "tiny"


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="A weights file, a folder, or the name of a known VAE.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A .safetensors, .pt, .ckpt or .bin file; a folder for diffusers and tiny."),
    ],
    layout: Annotated[
        LayoutName | None, typer.Option("--layout", help="The naming scheme to write.", show_default="as it is")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="DTYPE", help="fp32, bf16 or fp16.", show_default="as it is")
    ] = None,
    models: options.Models = None,
    padding: options.Padding = None,
    as_json: options.Json = False,
) -> None:
    """Write a VAE in another layout, format or dtype, tensor for tensor.

    `diffusers` is a folder with config.json, or one file if OUT has a file's ending; `ldm`, `original` (the names of a
    model's authors, where they were not LDM's) and `native` are one file; `tiny` is a folder with the encoder and the
    decoder of a tiny autoencoder, named after the folder as ComfyUI wants them. A `.pt` or `.ckpt` file keeps the
    weights under "state_dict"; a `.bin` has them at the top.
    """
    from vaekit.checkpoints.convert import convert as write
    from vaekit.identification.identify import identify
    from vaekit.identification.resolve import identity_in

    with bytes_moved("converting") as progress:
        write(source, target, layout.value if layout else None, dtype, progress, padding, models)
    written = identify(target)
    facts = {
        "input": source,
        "output": str(target),
        "layout": layout.value if layout else written.layout,
        "fingerprint": identity_in(written).fingerprint,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("converted", facts)
