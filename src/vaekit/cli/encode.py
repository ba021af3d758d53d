"""`vaekit encode`: images into latent files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_notes, print_json, print_table, run_all, spinner
from vaekit.cli.output_paths import targets


def encode(
    images: options.Images,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the latent files go.")],
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

    A latent file is safetensors with the mean and log-variance of the raw latents, the fingerprint and normalization
    of the VAE that made them, and the size of the image. Transparency is not kept: latents hold colors only.
    """
    from vaekit.checkpoints.latent_files import SUFFIX, LatentFile, origin_of, save_latent
    from vaekit.checkpoints.load import load
    from vaekit.distributions import Posterior
    from vaekit.domains.images.channels import for_vae
    from vaekit.domains.images.read import LoadedImage, find_images, read_image
    from vaekit.domains.images.roundtrip import pixel_count
    from vaekit.pipeline import Stages
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan

    named = targets(find_images(images), out, SUFFIX)
    with spinner("looking at the VAE"):
        loaded = load(vae, padding=padding, models=models)
    engine, space = Engine(loaded, Plan(device=device, dtype=dtype, memory=memory, backend=backend)), origin_of(loaded)

    def run(_: Path, image: LoadedImage) -> tuple[LoadedImage, Posterior, tuple[str, ...]]:
        pixels, notes = for_vae(image, engine.geometry)
        return image, engine.encode(pixels), notes

    def write(path: Path, encoded: tuple[LoadedImage, Posterior, tuple[str, ...]]) -> dict[str, Any]:
        image, posterior, notes = encoded
        save_latent(named[path], LatentFile(posterior, space, (image.height, image.width)))
        mean = posterior.mode
        return {
            "image": path,
            "output": named[path],
            "width": image.width,
            "height": image.height,
            "latent_shape": tuple(mean.shape[1:]),
            "mean": mean.mean().item(),
            "std": mean.std(correction=0).item(),
            "notes": [*notes, *(["transparency left out"] if image.alpha is not None else [])],
        }

    done, failures = run_all(list(named), Stages(read_image, run, write, pixel_count))
    if as_json:
        result = {"vae": vae, "fingerprint": space.fingerprint, "latents": done}
        print_json(result | {"failures": [vars(failure) for failure in failures]})
    elif done:
        rows = [
            [
                Path(one["output"]).name,
                f"{one['width']}x{one['height']}",
                "x".join(map(str, one["latent_shape"])),
                f"{one['mean']:+.3f}",
                f"{one['std']:.3f}",
            ]
            for one in done
        ]
        print_table(f"{vae}: raw latents", ("file", "image", "latent", "mean", "std"), rows)
        for one in done:
            log_notes(one["image"], one["notes"])
        log(f"Written to {out}")
    if failures:
        raise typer.Exit(1)
