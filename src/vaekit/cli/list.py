"""`vaekit list`: the VAEs at hand, and the known ones that could be."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import console, counting, plain, print_facts, print_json, print_table, say, shorten, size_words

if TYPE_CHECKING:
    from vaekit.checkpoints.cards import Card
    from vaekit.checkpoints.collection.listing import Collection, Listed

HASH_DIGITS = 10
COLUMNS = ("name", "kind", "frame", "size", "hash", "fp16")
KNOWN_COLUMNS = ("name", "kind", "size", "fp16", "licence", "repository")


def list_models(
    models: options.Models = None,
    known: Annotated[bool, typer.Option("--known", help="Also list the known VAEs that can be fetched.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the VAEs at hand.

    Those in the models folders, inside vaekit, and known ones in the Hub's cache: the name that --vae takes, the kind
    of latent space, the frame (scale; shift), the size of the file, the first digits of the weights' fingerprint (the
    same in every layout and format), and whether they can run in half precision. Then duplicates, problems, and files
    that hold no VAE. A file is looked into once and remembered until its size or time changes.
    """
    from vaekit.checkpoints.collection.listing import collection

    with counting("looking into files") as progress:
        found = collection(models, progress)
    if as_json:
        print_json(as_facts(found))
        return
    for place, vaes in groupby(found.vaes, key=lambda vae: vae.place):
        print_rows(place, COLUMNS, [row(vae) for vae in vaes], left=2)
    print_under("Worth knowing", [(vae.name, note) for vae in found.vaes for note in notes(vae)])
    print_under("No VAE to use", [(file.name, file.reason) for file in found.unusable])
    print_under("Not looked into", [(str(trouble.path), trouble.reason) for trouble in found.troubles])
    if known:
        print_rows("Known, to be had with `vaekit get NAME`", KNOWN_COLUMNS, [known_row(one) for one in found.known], 2)
    elif found.known:
        say(f"{len(found.known)} more are known; `vaekit list --known` shows them, `vaekit get NAME` fetches one.")


def row(vae: "Listed") -> list[str]:
    """One VAE in the table."""
    fp16 = vae.facts["fp16"]
    return [
        vae.name,
        kind_words(vae.facts),
        frame_short(vae.facts["frame"]),
        size_words(vae.bytes),
        vae.facts["fingerprint"][:HASH_DIGITS],
        "?" if fp16 == "unknown" else fp16,
    ]


def known_row(card: "Card") -> list[str]:
    """One VAE that could be fetched."""
    file = card.files[0]
    size = size_words(file.bytes) if file.bytes else "?"
    return [card.name, card.kind, size, "?" if card.fp16 == "unknown" else card.fp16, card.licence, file.repo]


def kind_words(facts: Any) -> str:
    """The latent space of a VAE, or its shape where that is no known one."""
    kinds = " or ".join(kind.split(" (")[0] for kind in facts["known_as"])
    return kinds or f"{facts['family']}, {facts['latent_channels']} at 1/{facts['factor']}"


def frame_short(frame: Any) -> str:
    """Scale and shift in as few letters as possible."""
    if frame is None:
        return "unknown"
    scale, shift = frame["scale"], frame["shift"]
    if len(scale) > 1 or len(shift) > 1:
        return f"{max(len(scale), len(shift))} numbers"
    return f"{scale[0]:g}" + (f"; {shift[0]:g}" if shift[0] else "")


def notes(vae: "Listed") -> list[str]:
    """What a user should know of one VAE; that the frame is unknown stands in the table."""
    told = [problem for problem in vae.facts["problems"] if not problem.startswith("The frame is unknown")]
    same = f"Same weights as {', '.join(vae.duplicates)}."
    return [*([same] if vae.duplicates else []), *told]


def print_rows(title: str, columns: Sequence[str], rows: list[list[str]], left: int) -> None:
    """A table whose names give way where the terminal is narrow, and nothing else; an empty line after it."""
    if not rows:
        return
    others = sum(max(len(line[i]) for line in [columns, *rows]) + 1 for i in range(1, len(columns)))
    room = max(console().width - others - 1, 16)
    print_table(title, columns, [[shorten(line[0], room), *line[1:]] for line in rows], left)
    console().print()


def print_under(title: str, lines: list[tuple[str, str]]) -> None:
    """Names and sentences below the tables."""
    if lines:
        print_facts(title, lines)
        console().print()


def as_facts(found: "Collection") -> dict[str, Any]:
    """All of it for a program."""
    return {
        "folders": found.folders,
        "vaes": [vae_facts(vae) for vae in found.vaes],
        "unusable": [vars(file) for file in found.unusable],
        "troubles": [vars(trouble) for trouble in found.troubles],
        "known": [plain(vars(card) | {"files": [vars(file) for file in card.files]}) for card in found.known],
    }


def vae_facts(vae: "Listed") -> dict[str, Any]:
    """One VAE for a program."""
    own = {name: value for name, value in vars(vae).items() if name != "facts"}
    return {**own, **vae.facts}
