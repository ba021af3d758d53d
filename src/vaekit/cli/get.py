"""`vaekit get`: a known VAE from the Hub into a models folder."""

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
        typer.Argument(metavar="NAME", help="A known VAE; or OWNER/REPO, OWNER/REPO/FILE, an address on the Hub."),
    ],
    models: options.Models = None,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="What to call it.", show_default="the name of card or file")
    ] = "",
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="HEX", help="The hash it must have.", show_default="the card's")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Fetch a known VAE from the Hub.

    It becomes a plain file in the first models folder that can be written (an A1111 or ComfyUI folder: in its VAE
    folder), and its name works wherever --vae does. It gets this name when it is whole and its SHA-256 is right; an
    interrupted download goes on where it stopped. What is there already, under whatever name, is not fetched again,
    and a file in the Hub's own cache is linked, not copied, where the file system can.

    HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what they mean to huggingface_hub.
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
