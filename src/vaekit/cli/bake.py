"""`vaekit bake`: replace the VAE of a whole checkpoint."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, log, print_facts, print_json


def bake(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .safetensors or .ckpt file, or its shards.")
    ],
    vae: Annotated[str, typer.Argument(metavar="VAE", help=options.ANY_VAE)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new checkpoint (.safetensors).")],
    assume_same_normalization: Annotated[
        bool,
        typer.Option(
            "--assume-same-normalization", help="Assume that a VAE of unknown normalization has the checkpoint's."
        ),
    ] = False,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Write a copy of a whole checkpoint with another VAE.

    The VAE gets the tensor names and dtype of the checkpoint's own; all other tensors and the metadata are copied byte
    for byte. An encoder or a decoder alone replaces only that part. A VAE with another latent space is refused.
    """
    from vaekit.checkpoints.bake import bake as put_in

    with bytes_moved("baking") as progress:
        done = put_in(checkpoint, vae, out, assume_same_normalization, progress, weights)
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    counted = {"replaced": done.replaced, "added": done.added, "removed": done.removed, "kept": done.kept}
    facts = {
        "checkpoint": done.checkpoint,
        "model": done.model or "unknown",
        "VAE": f"{done.vae}: {' and '.join(done.halves)} in {' and '.join(done.dtypes)}",
        "tensors": ", ".join(f"{number:,} {what}" for what, number in counted.items() if number),
        "output": f"{done.output} ({done.nbytes / 1e9:,.2f} GB)",
    }
    print_facts("baked", facts)
    for note in done.notes:
        log(f"vaekit: {note}")
