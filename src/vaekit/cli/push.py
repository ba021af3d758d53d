"""`vaekit push`: upload a finished run to the Hub."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli import options
from vaekit.cli.output import format_bytes, log, print_facts, print_json


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hub; created if missing.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="PATTERN",
            help="Also upload matching files of the run, such as recipe.json or averages/*; may be repeated.",
        ),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only list what would be uploaded.")] = False,
    as_json: options.Json = False,
) -> None:
    """Upload a trained VAE to the Hub.

    Uploads the weights, config.json if present, the model card and its images in one commit; never checkpoints, logs or
    other images, unless --also matches them. The token is read from HF_TOKEN or from `hf auth login`.
    """
    from vaekit.library.upload import push as send

    pushed = send(run, repo, private, also or [], dry, log)
    if as_json:
        print_json(dataclasses.asdict(pushed))
        return
    facts = [("repository", pushed.address), *(("file", name) for name in pushed.files)]
    facts += [("size", format_bytes(pushed.bytes)), *([("commit", pushed.commit)] if pushed.commit else [])]
    print_facts("would be uploaded" if dry else "uploaded", facts)
    if not dry:
        log(f"Download it with: vaekit get {pushed.repo}")
