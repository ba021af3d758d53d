"""`vaekit get`: download a known VAE into a models folder."""

import dataclasses
import re
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import bytes_moved, log, print_facts, print_json


def get(
    what: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A known VAE; or OWNER/REPO, OWNER/REPO/FILE, or a URL on the Hub."),
    ],
    models: options.Models = None,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Name of the file.", show_default="the known or original name")
    ] = "",
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="HEX", help="Expected SHA-256.", show_default="the catalog's")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Download a known VAE from the Hub.

    The file goes to the first writable models folder (in an A1111 or ComfyUI folder: its VAE folder), and its name then
    works with --vae. It appears under its name once it is complete and its SHA-256 is verified; an interrupted download
    is resumed. A file that is already there under any name is not downloaded again, and a file in the Hub's cache is
    linked instead of copied where possible.

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE have the same meaning as for huggingface_hub.
    """
    from vaekit.library.download import get as fetch

    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise typer.BadParameter("expected 64 hexadecimal digits", param_hint="--sha256")
    if name != Path(name).name:
        raise typer.BadParameter("expected a name, not a path", param_hint="--as")
    with bytes_moved(what) as progress:
        gotten = fetch(what, models, name, sha256, progress)
    if as_json:
        print_json(dataclasses.asdict(gotten))
        return
    facts = {
        "name": gotten.name,
        "file": str(gotten.path),
        "size": f"{gotten.bytes:,} bytes",
        "sha256": gotten.sha256,
        "verified": "yes" if gotten.verified else "no",
    }
    print_facts(f"{gotten.name} {gotten.how}", facts)
    for note in gotten.notes:
        log(f"vaekit: {note}")
