"""`vaekit push`: a finished run onto the Hub."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import format_bytes, log, print_facts, print_json


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the Hub; it is made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make it private, where it is made.")] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="PATTERN",
            help="Send these files of the run too, such as recipe.json; those in its folders only by name: averages/*.",
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    as_json: options.Json = False,
) -> None:
    """Put a trained VAE on the Hub.

    Sends the weights, config.json where there is one, the model card and the images that it shows, in one commit;
    never checkpoints, logs or other images, unless --also names them. The token comes from HF_TOKEN or from `hf auth
    login`, and from nowhere else.
    """
    from vaekit.library.upload import push as send

    pushed = send(run, repo, private, also or [], dry, log)
    if as_json:
        print_json(dataclasses.asdict(pushed))
        return
    facts = [("repository", pushed.address), *(("file", name) for name in pushed.files)]
    facts += [("size", format_bytes(pushed.bytes)), *([("commit", pushed.commit)] if pushed.commit else [])]
    print_facts("would be sent" if dry else "sent", facts)
    if not dry:
        log(f"Others get it with: vaekit get {pushed.repo}")
