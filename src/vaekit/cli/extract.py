"""`vaekit extract`: the VAE out of a whole checkpoint."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, print_facts, print_json


def extract(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="One .safetensors or .ckpt file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .safetensors file, or a folder for diffusers.")],
    layout: Annotated[
        options.LayoutName | None,
        typer.Option("--layout", help="The naming scheme to write.", show_default="ldm; tiny ones keep theirs"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write the VAE of a whole checkpoint into a file of its own.

    The weights are copied byte for byte, in the dtype that they have. The rest of the checkpoint tells which model it
    is, and so the normalization of the VAE; the new file says it. By default its names are LDM's, which A1111, ComfyUI
    and diffusers open.
    """
    from vaekit.checkpoints.extract import extract as take_out

    with bytes_moved("extracting") as progress:
        done = take_out(checkpoint, out, layout.value if layout else None, progress)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    normalization = "unknown: " if done.normalization is None else f"{done.normalization}, from "
    facts = {
        "checkpoint": done.checkpoint,
        "model": done.model or "not known",
        "VAE": f"{' and '.join(done.halves)}, {done.tensors:,} tensors"
        + (f" behind {done.prefix!r}" if done.prefix else ""),
        "normalization": normalization + done.normalization_source,
        "output": f"{done.output} ({done.nbytes / 1e6:,.1f} MB), {done.layout}",
    }
    print_facts("extracted", facts)
