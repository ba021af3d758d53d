"""`vaekit decompress`: items from a compressed file."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_facts, print_json, progress_bar, spinner
from vaekit.tasks.options import EngineOptions, ModelOptions


@options.with_records
def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `vaekit compress`, or a folder of images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder, or file for items that share one.")],
    *,
    source: ModelOptions,
    engine: EngineOptions,
    as_json: options.Json = False,
) -> None:
    """Restore the items of a compressed file.

    The VAE must be the one that compressed them, and every item is checked: a damaged file, or another VAE, is an
    error, never another item.
    """
    from vaekit.cli.compressed_images import decompress_with
    from vaekit.tasks.compress_images import Codec
    from vaekit.tasks.decompress import decompress as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source, engine)
    if codec := Codec.of(model):
        decompress_with(codec, source.vae, file, out, as_json)
        return
    with progress_bar(model.domain.items) as progress:
        written = run(model, file, out, progress)
    if as_json:
        print_json({"vae": source.vae, "files": written})
        return
    print_facts(f"{file.name}: restored", {"files": f"{len(written):,}"})
    log(f"Written to {out}")
