"""`vaekit list`: the VAEs at hand, and the known ones that could be."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import console, format_bytes, log, print_facts, print_json, print_table, progress_bar, shorten

if TYPE_CHECKING:
    from vaekit.catalog.entries import CatalogEntry
    from vaekit.library.listing import ListedVAE, Listing

HASH_DIGITS = 10
MOST_OF_KIND = 20
"""Letters of a kind's name in a table."""
LEAST_ROOM = 12
"""Letters that are left of what gives way, however narrow the terminal is."""
COLUMNS = ("name", "kind", "normalization", "size", "hash", "fp16")
KNOWN_COLUMNS = ("name", "kind", "size", "fp16", "repository")


def list_models(
    models: options.Models = None,
    known: Annotated[bool, typer.Option("--known", help="Also list the known VAEs that can be fetched.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the VAEs at hand.

    Those in the models folders, inside vaekit, and known ones in the Hub's cache: the name that --vae takes, the kind
    of latent space, the normalization (scale; shift), the size of the file, the first digits of the weights'
    fingerprint (the same in every layout and format), and whether they can run in half precision. Then duplicates,
    problems, and files that hold no VAE. A file is looked into once and remembered until its size or time changes.
    """
    from vaekit.library.listing import list_vaes

    with progress_bar("looking into files") as progress:
        found = list_vaes(models, progress)
    if as_json:
        print_json(as_facts(found))
        return
    for place, vaes in groupby(found.vaes, key=lambda vae: vae.place):
        print_rows(place, COLUMNS, [row(vae) for vae in vaes], gives_way="name")
    print_under("Worth knowing", [(vae.name, note) for vae in found.vaes for note in notes(vae)])
    print_under("No VAE to use", [(file.name, file.reason) for file in found.unusable])
    print_under("Not looked into", [(str(trouble.path), trouble.reason) for trouble in found.troubles])
    if known:
        rows = [known_row(card) for card in found.known]
        print_rows("Known, to be had with `vaekit get NAME`", KNOWN_COLUMNS, rows, gives_way="repository")
    elif found.known:
        log(f"{len(found.known)} more are known; `vaekit list --known` shows them, `vaekit get NAME` fetches one.")


def row(vae: "ListedVAE") -> list[str]:
    """One VAE in the table."""
    fp16 = vae.facts["fp16"]
    return [
        vae.name,
        kind_words(vae.facts),
        normalization_short(vae.facts["normalization"]),
        format_bytes(vae.bytes),
        (vae.facts["fingerprint"] or "")[:HASH_DIGITS],
        "?" if fp16 == "unknown" else fp16,
    ]


def known_row(card: "CatalogEntry") -> list[str]:
    """One VAE that could be fetched."""
    file = card.files[0]
    size = format_bytes(file.bytes) if file.bytes else "?"
    return [
        card.name,
        kind_short([card.kind]),
        size,
        "?" if card.fp16 == "unknown" else card.fp16,
        file.repo or file.url,
    ]


def kind_words(facts: Any) -> str:
    """The latent space of a VAE, or its shape where that is no known one."""
    if not facts["runnable"]:
        return f"{facts['family']}: recognized, not runnable"
    scale = "" if facts["factor"] is None else f" at 1/{facts['factor']}"
    return kind_short(facts["known_as"]) or f"{facts['family']}, {facts['latent_channels']}{scale}"


def kind_short(kinds: Sequence[str]) -> str:
    """The names of kinds without what they explain in brackets."""
    return shorten(" or ".join(kind.split(" (")[0] for kind in kinds), MOST_OF_KIND)


def normalization_short(normalization: Any) -> str:
    """Scale and shift in as few letters as possible."""
    if normalization is None:
        return "unknown"
    scale, shift = normalization["scale"], normalization["shift"]
    if len(scale) > 1 or len(shift) > 1:
        return f"{max(len(scale), len(shift))} numbers"
    return f"{scale[0]:g}" + (f"; {shift[0]:g}" if shift[0] else "")


def notes(vae: "ListedVAE") -> list[str]:
    """What a user should know of one VAE; that the normalization is unknown stands in the table."""
    told = [problem for problem in vae.facts["problems"] if not problem.startswith("The normalization is unknown")]
    same = f"Same weights as {', '.join(vae.duplicates)}."
    cast = f"The same known VAE as {', '.join(vae.rounded)}, in another precision or by halves."
    return [*([same] if vae.duplicates else []), *([cast] if vae.rounded else []), *told]


def print_rows(title: str, columns: Sequence[str], rows: list[list[str]], gives_way: str) -> None:
    """A table, of which one column gives way where the terminal is narrow; an empty line after it."""
    if not rows:
        return
    narrow = columns.index(gives_way)
    widths = [max(len(line[i]) + 1 for line in (columns, *rows)) for i in range(len(columns))]
    room = max(console().width - sum(widths) + widths[narrow] - 1, LEAST_ROOM)
    print_table(
        title, columns, [[*line[:narrow], shorten(line[narrow], room), *line[narrow + 1 :]] for line in rows], 2
    )
    console().print()


def print_under(title: str, lines: list[tuple[str, str]]) -> None:
    """Names and sentences below the tables."""
    if lines:
        print_facts(title, lines)
        console().print()


def as_facts(found: "Listing") -> dict[str, Any]:
    """All of it for a program."""
    return {
        "folders": found.folders,
        "vaes": [vae_facts(vae) for vae in found.vaes],
        "unusable": [vars(file) for file in found.unusable],
        "troubles": [vars(trouble) for trouble in found.troubles],
        "known": [card_facts(card) for card in found.known],
    }


def card_facts(card: "CatalogEntry") -> dict[str, Any]:
    """One known VAE for a program; its sketches are for vaekit alone."""
    told = {name: value for name, value in vars(card).items() if name not in ("weights", "own_normalization", "files")}
    normalization = None if card.normalization is None else card.normalization.as_json()
    fingerprint = None if card.weights is None else card.weights.fingerprint
    return told | {
        "normalization": normalization,
        "fingerprint": fingerprint,
        "files": [vars(file) for file in card.files],
    }


def vae_facts(vae: "ListedVAE") -> dict[str, Any]:
    """One VAE for a program."""
    own = {name: value for name, value in vars(vae).items() if name != "facts"}
    return {**own, **vae.facts}
