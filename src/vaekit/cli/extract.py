"""`vaekit extract`: extract the VAE from a whole checkpoint."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, log_note, print_facts, print_json
from vaekit.errors import counted


def extract(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .safetensors or .ckpt file, or its shards.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .safetensors file, or a folder for diffusers.")],
    layout: Annotated[
        options.LayoutName | None,
        typer.Option("--layout", help="Naming scheme to write.", show_default="ldm; tiny VAEs keep theirs"),
    ] = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Extract the VAE from a whole checkpoint.

    The weights are copied byte for byte. The rest of the checkpoint determines the model and with it the latent
    normalization of the VAE, which is stored in the new file. By default tensors get LDM's names, which A1111, ComfyUI
    and diffusers can load.
    """
    from vaekit.checkpoints.extract import extract as take_out

    with bytes_moved("extracting") as progress:
        done = take_out(checkpoint, out, layout.value if layout else None, progress, weights)
    log_note(str(checkpoint), done.note)
    log_note(str(checkpoint), done.problem)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    normalization = "unknown: " if done.normalization is None else f"{done.normalization}, from "
    facts = {
        "checkpoint": done.checkpoint,
        "model": done.model or "unknown",
        "VAE": f"{' and '.join(done.halves)}, {counted(done.tensors, 'tensor')}"
        + (f", prefix {done.prefix!r}" if done.prefix else ""),
        "normalization": normalization + done.normalization_source,
        "output": f"{done.output} ({done.nbytes / 1e6:,.1f} MB), {done.layout}",
    }
    print_facts("extracted", facts)
