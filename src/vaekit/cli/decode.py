"""`vaekit decode`: latent files back into images."""

from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_json, print_table, run_all, spinner
from vaekit.cli.output_paths import targets


def decode(
    latents: Annotated[
        list[Path],
        typer.Argument(metavar="LATENT", help="Files that `vaekit encode` wrote, or folders of them."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the images go.")],
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

    Images have their original size. The VAE must be the one that made the latents, or share its channels, factor
    and normalization.
    """
    from vaekit.checkpoints.latent_files import LatentFile, check_readable, find_latents, load_latent, origin_of
    from vaekit.checkpoints.load import load
    from vaekit.domains.images.correction_files import correction_of
    from vaekit.domains.images.write import write_image
    from vaekit.metrics.image.luma import as_rgb
    from vaekit.pipeline import Stages
    from vaekit.runtime.engine import Engine
    from vaekit.runtime.plan import Plan
    from vaekit.shapes import Images

    named = targets(find_latents(latents), out, ".png")
    with spinner("looking at the VAE"):
        loaded = load(vae, padding=padding, models=models)
        correction = correction_of(vae, loaded, models) if correct else None
    engine, space = Engine(loaded, Plan(device=device, dtype=dtype, memory=memory, backend=backend)), origin_of(loaded)

    def run(path: Path, latent: LatentFile) -> tuple[Images, dict[str, Any]]:
        latent.space.geometry.require_axes(2, "images")
        caution = check_readable(path, latent.space, space)
        if caution:
            log(f"vaekit: {caution}")
        pixels = as_rgb(engine.decode(latent.posterior.mean, latent.size))
        if correction is not None:
            pixels = correction.correction.apply(pixels)
        height, width = latent.size
        facts = {"latent": path, "output": named[path], "width": width, "height": height}
        return pixels, facts | {"caution": caution}

    def write(path: Path, decoded: tuple[Images, dict[str, Any]]) -> dict[str, Any]:
        pixels, facts = decoded
        write_image(named[path], pixels)
        return facts

    steps = Stages(load_latent, run, write, lambda latent: prod(latent.size))
    done, failures = run_all(list(named), steps)
    if as_json:
        told = {"correction": correction.as_json()} if correction is not None else {}
        failed = [vars(failure) for failure in failures]
        print_json({"vae": vae, **told, "images": done, "failures": failed})
    elif done:
        rows = [[Path(one["output"]).name, f"{one['width']}x{one['height']}"] for one in done]
        print_table(f"{vae}: decoded", ("image", "size"), rows)
        if correction is not None:
            log(f"{vae}: {correction.about}")
        log(f"Written to {out}")
    if failures:
        raise typer.Exit(1)
