"""`vaekit decode`: latent files to items."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import progress_bar, show_results, spinner
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
    weights: options.Weights = None,
    correct: options.Correct = False,
    as_json: options.Json = False,
) -> None:
    """Decode latent files into images (PNG), tables (CSV) or text, whatever the VAE makes.

    Images get their original size. The VAE must be the one that made the latents, or have the same latent channels,
    factor and latent normalization.
    """
    from vaekit.tasks.decode import decode as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(
            ModelOptions(vae, models, padding, weights), EngineOptions(dtype, device, memory, backend), correct
        )
    with progress_bar(model.items.files) as progress:
        batch = run(model, latents, out, progress)
    facts: dict[str, Any] = {"vae": vae}
    remarks = [f"{vae}: {note}" for note in model.notes]
    if model.items.correction is not None:
        facts["correction"] = model.items.correction.as_json()
        remarks.append(f"{vae}: {model.items.correction.about}")
    show_results(batch, facts, model.items.files, f"{vae}: decoded {model.items.files}", remarks, out, as_json)
