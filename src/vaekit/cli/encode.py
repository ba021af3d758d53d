"""`vaekit encode`: items to latent files."""

from vaekit.cli import options
from vaekit.cli.output import progress_bar, show_results, spinner
from vaekit.tasks.options import CodingOptions, EngineOptions, ModelOptions


@options.with_records
def encode(
    items: options.Given,
    out: options.Out,
    *,
    source: ModelOptions,
    coding: CodingOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Encode items into latent files.

    A latent file is a safetensors file with the mean and log-variance of the raw latents, the fingerprint and latent
    normalization of the VAE, and the size of the item. Each image, table and text file gets its own. The transparency
    of images is dropped.
    """
    from vaekit.tasks.encode import encode as run
    from vaekit.tasks.given import given_files
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine, coding=coding)
    with progress_bar(model.items.files) as progress:
        batch = run(model, given_files(model, items, out), out, progress)
    facts = {"vae": source.vae, "fingerprint": model.origin.fingerprint}
    remarks = [f"{source.vae}: {note}" for note in model.notes]
    show_results(batch, facts, "latents", f"{source.vae}: raw latents", remarks, out, as_json)
