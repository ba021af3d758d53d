"""`vaekit encode`: images to latent files."""

from typing import TYPE_CHECKING

import typer

from vaekit.cli import options
from vaekit.cli.output import (
    failures_json,
    log,
    log_failures,
    log_notes,
    print_json,
    print_table,
    progress_bar,
    spinner,
)
from vaekit.tasks.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from vaekit.domains.images.latent_stages import EncodedImage

COLUMNS = ("file", "image", "latent", "mean", "std")


def encode(
    images: options.Images,
    out: options.Out,
    vae: options.Vae = "builtin",
    models: options.Models = None,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    as_json: options.Json = False,
) -> None:
    """Encode images into latent files.

    A latent file is a safetensors file with the mean and log-variance of the raw latents, the fingerprint and latent
    normalization of the VAE, and the size of the image. Transparency is dropped.
    """
    from vaekit.tasks.encode import encode as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(ModelOptions(vae, models, padding), EngineOptions(dtype, device, memory, backend))
    with progress_bar("images") as progress:
        batch = run(model, images, out, progress)
    log_failures(batch)
    if as_json:
        latents = [vars(result) for result in batch.results]
        result = {"vae": vae, "fingerprint": model.origin.fingerprint, "latents": latents}
        print_json(result | {"failures": failures_json(batch)})
    elif batch.results:
        print_table(f"{vae}: raw latents", COLUMNS, [row(result) for result in batch.results])
        for each in batch.results:
            log_notes(each.image, each.notes)
        log(f"Written to {out}")
    if not batch.complete:
        raise typer.Exit(1)


def row(result: "EncodedImage") -> list[str]:
    """One line of the table."""
    return [
        result.output.name,
        f"{result.width}x{result.height}",
        "x".join(map(str, result.latent_shape)),
        f"{result.mean:+.3f}",
        f"{result.std:.3f}",
    ]
