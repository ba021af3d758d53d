"""`vaekit decode`: latent files to items."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import progress_bar, show_results, spinner
from vaekit.tasks.options import DecodingOptions, EngineOptions, ModelOptions


@options.with_records
def decode(
    latents: Annotated[
        list[Path],
        typer.Argument(metavar="LATENT", help="Latent files written by `vaekit encode`, or folders of them."),
    ],
    out: options.Out,
    *,
    source: ModelOptions,
    decoding: DecodingOptions,
    engine: EngineOptions,
    correct: options.Correct = False,
    as_json: options.Json = False,
) -> None:
    """Decode latent files into images (PNG), tables (CSV) or text, depending on the VAE.

    Images get their original size. The VAE must be the one that made the latents, or have the same latent channels,
    factor and latent normalization.
    """
    from vaekit.tasks.decode import decode as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine, correct, decoding)
    with progress_bar(model.items.files) as progress:
        batch = run(model, latents, out, progress)
    facts: dict[str, Any] = {"vae": source.vae}
    remarks = [f"{source.vae}: {note}" for note in model.notes]
    if model.items.correction is not None:
        facts["correction"] = model.items.correction.as_json()
        remarks.append(f"{source.vae}: {model.items.correction.about}")
    show_results(batch, facts, model.items.files, f"{source.vae}: decoded {model.items.files}", remarks, out, as_json)
