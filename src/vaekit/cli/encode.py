"""`vaekit encode`: items to latent files."""

from vaekit.cli import options
from vaekit.cli.output import progress_bar, show_results, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions


def encode(
    items: options.Items,
    out: options.Out,
    vae: options.Vae = "builtin",
    models: options.Models = None,
    dtype: options.Dtype = "fp32",
    device: options.Device = None,
    memory: options.Memory = None,
    backend: options.Backend = "auto",
    padding: options.Padding = None,
    weights: options.Weights = None,
    as_json: options.Json = False,
) -> None:
    """Encode items into latent files.

    A latent file is a safetensors file with the mean and log-variance of the raw latents, the fingerprint and latent
    normalization of the VAE, and the size of the item. Each image, table and text file gets its own. The transparency
    of images is dropped.
    """
    from vaekit.tasks.encode import encode as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(ModelOptions(vae, models, padding, weights), EngineOptions(dtype, device, memory, backend))
    with progress_bar(model.items.files) as progress:
        batch = run(model, items, out, progress)
    facts = {"vae": vae, "fingerprint": model.origin.fingerprint}
    remarks = [f"{vae}: {note}" for note in model.notes]
    show_results(batch, facts, "latents", f"{vae}: raw latents", remarks, out, as_json)
