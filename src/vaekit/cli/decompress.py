"""`vaekit decompress`: items from a compressed file."""

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import log, print_facts, print_json, progress_bar, spinner
from vaekit.tasks.options import ModelOptions


@options.with_records
def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `vaekit compress`.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder, or file for items that share one.")],
    *,
    source: ModelOptions,
    as_json: options.Json = False,
) -> None:
    """Restore the items of a compressed file.

    The VAE must be the one that compressed them, and every item is checked: a damaged file, or another VAE, is an
    error, never another item.
    """
    from vaekit.tasks.decompress import decompress as run
    from vaekit.tasks.model import open_model

    with spinner("loading the VAE"):
        model = open_model(source)
    with progress_bar(model.domain.items) as progress:
        written = run(model, file, out, progress)
    if as_json:
        print_json({"vae": source.vae, "files": written})
        return
    print_facts(f"{file.name}: restored", {"files": f"{len(written):,}"})
    log(f"Written to {out}")
