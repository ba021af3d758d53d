"""`vaekit traverse`: move along directions of the latent space."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, log_note, print_json, print_table, progress_bar, spinner
from vaekit.tasks.options import DecodingOptions, EngineOptions, LatentOptions, ModelOptions


@options.with_records
def traverse(
    item: Annotated[
        str,
        typer.Argument(
            metavar="ITEM", help="A file of the VAE's kind of data; its first item. Or a sentence, or SMILES."
        ),
    ],
    *,
    source: ModelOptions,
    out: options.Out = Path("traversal"),
    axes: Annotated[
        list[int] | None,
        typer.Option(
            "--axis", metavar="K", help="A latent axis, from 0; may be repeated.", show_default="the first ten"
        ),
    ] = None,
    pca: Annotated[
        int | None,
        typer.Option("--pca", metavar="K", min=1, help="The first K principal components of the latents of --data."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Data whose standard deviation along a direction is the unit.",
            show_default="unit 1",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, max=1000, help="Number of items per direction.")
    ] = 7,
    extent: Annotated[
        float, typer.Option("--extent", metavar="S", min=0, max=1000, help="Largest distance, in standard deviations.")
    ] = 3.0,
    sample: options.Sample = False,
    seed: options.Seed = 0,
    decoding: DecodingOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Move an item along directions of the latent space.

    Encodes the item, moves its latents along axes or principal components, and decodes every step. Images become a grid
    (PNG), one row per direction; rows and sentences become one file per direction. Latents that are maps move by the
    same amount at every position.
    """
    from vaekit.tasks.given import given_files
    from vaekit.tasks.model import open_model
    from vaekit.tasks.traverse import TraverseOptions
    from vaekit.tasks.traverse import traverse as run

    with spinner("loading the VAE"):
        model = open_model(source, engine, decoding=decoding)
    wanted = TraverseOptions(tuple(axes or ()), pca, data, steps, extent, LatentOptions(sample, seed))
    (path,) = given_files(model, [item], out)
    with progress_bar("directions") as progress:
        result = run(model, path, out, wanted, progress)
    log_note(source.vae, "; ".join(model.notes))
    for note in result.notes:
        log(note)
    if as_json:
        directions = [{"name": name, "std": std} for name, std in result.directions]
        print_json({"vae": source.vae, **vars(result), "directions": directions})
        return
    rows = [[name, f"{std:.4g}"] for name, std in result.directions]
    unit = "unit" if data is None else "standard deviation"
    print_table(f"{source.vae}: traversal from {result.item}", ("direction", unit), rows)
    log(f"Steps: {', '.join(f'{distance + 0.0:+.3g}' for distance in result.distances)} {unit}s along each direction")
    log(f"Written to {', '.join(map(str, result.files))}")
