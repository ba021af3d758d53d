"""`vaekit decode`: latent files to images."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import failures_json, log, log_failures, print_json, print_table, progress_bar, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions


def decode(
    latents: Annotated[
        list[Path],
        typer.Argument(metavar="LATENT", help="Latent files written by `vaekit encode`, or folders of them."),
    ],
    out: options.Out,
    vae: options.Vae = "builtin",
    models: options.Models = None,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    correct: options.Correct = False,
    as_json: options.Json = False,
) -> None:
    """Decode latent files into PNG images.

    Images get their original size. The VAE must be the one that made the latents, or have the same latent channels,
    factor and latent normalization.
    """
    from vaekit.tasks.decode import decode as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(ModelOptions(vae, models, padding), EngineOptions(dtype, device, memory, backend), correct)
    with progress_bar("images") as progress:
        batch = run(model, latents, out, progress)
    for result in batch.results:
        if result.caution:
            log(f"vaekit: {result.caution}")
    log_failures(batch)
    correction = model.correction
    if as_json:
        extra = {"correction": correction.as_json()} if correction is not None else {}
        images = [vars(result) for result in batch.results]
        print_json({"vae": vae, **extra, "images": images, "failures": failures_json(batch)})
    elif batch.results:
        rows = [[result.output.name, f"{result.width}x{result.height}"] for result in batch.results]
        print_table(f"{vae}: decoded images", ("image", "size"), rows)
        if correction is not None:
            log(f"{vae}: {correction.about}")
        log(f"Written to {out}")
    if not batch.complete:
        raise typer.Exit(1)
