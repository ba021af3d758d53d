"""`vaekit list`: the available VAEs, and the known ones that can be downloaded."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import options
from vaekit.cli.output import console, format_bytes, log, print_facts, print_json, print_table, progress_bar, shorten
from vaekit.errors import visible

if TYPE_CHECKING:
    from vaekit.catalog.entries import CatalogEntry
    from vaekit.library.listing import ListedVAE, Listing

HASH_DIGITS = 10
LATENT_SPACE_WIDTH = 20
"""Characters of a latent space's name in a table."""
MIN_WIDTH = 12
"""Characters of the shrinking column, however narrow the terminal is."""
COLUMNS = ("name", "latent space", "normalization", "size", "hash", "fp16")
WITHOUT = ("weights", "own_normalization", "files")
"""Fields of a catalog entry that JSON does not have, or has in another form."""
KNOWN_COLUMNS = ("name", "latent space", "size", "fp16", "repository")


def list_models(
    models: options.Models = None,
    known: Annotated[bool, typer.Option("--known", help="Also list the known VAEs that can be downloaded.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the available VAEs.

    Lists the VAEs in the models folders, inside vaekit and in the Hub's cache: the name that --vae accepts, the latent
    space, the latent normalization (scale; shift), the file size, the start of the weights' fingerprint (the same in
    every layout and format), and whether they run in half precision. Then duplicates, problems, and files without a
    VAE. Results are cached until a file's size or time changes.
    """
    from vaekit.library.listing import list_vaes

    with progress_bar("files") as progress:
        listing = list_vaes(models, progress)
    if as_json:
        print_json(as_facts(listing))
        return
    for place, vaes in groupby(listing.vaes, key=lambda vae: vae.place):
        print_rows(place, COLUMNS, [row(vae) for vae in vaes], shrinking="name")
    print_under("Notes", [(vae.name, note) for vae in listing.vaes for note in notes(vae)])
    print_under("Not usable", [(file.name, file.reason) for file in listing.unusable])
    print_under("Not read", [(str(trouble.path), trouble.reason) for trouble in listing.troubles])
    if known:
        rows = [known_row(entry) for entry in listing.known]
        print_rows("Known, available with `vaekit get NAME`", KNOWN_COLUMNS, rows, shrinking="repository")
    elif listing.known:
        verb = "is" if len(listing.known) == 1 else "are"
        log(f"{len(listing.known)} more {verb} known: see `vaekit list --known`, download with `vaekit get NAME`.")


def row(vae: "ListedVAE") -> list[str]:
    """One VAE in the table."""
    fp16 = vae.facts["fp16"]
    return [
        vae.name,
        latent_space_text(vae.facts),
        normalization_short(vae.facts["normalization"]),
        format_bytes(vae.bytes),
        (vae.facts["fingerprint"] or "")[:HASH_DIGITS],
        "?" if fp16 == "unknown" else fp16,
    ]


def known_row(entry: "CatalogEntry") -> list[str]:
    """One known VAE in the table."""
    file = entry.files[0]
    size = format_bytes(file.bytes) if file.bytes else "?"
    return [
        entry.name,
        shortened([entry.latent_space]),
        size,
        "?" if entry.fp16 == "unknown" else entry.fp16,
        file.repo or file.url,
    ]


def latent_space_text(facts: Any) -> str:
    """The latent space of a VAE, or its shape if no known one fits."""
    if not facts["runnable"]:
        return f"{facts['family']}: recognized, not runnable"
    scale = "" if facts["factor"] is None else f" at 1/{facts['factor']}"
    return shortened(facts["candidate_models"]) or f"{facts['family']}, {facts['latent_channels']}{scale}"


def shortened(spaces: Sequence[str]) -> str:
    """The names of latent spaces without the explanations in parentheses."""
    return shorten(" or ".join(space.split(" (")[0] for space in spaces), LATENT_SPACE_WIDTH)


def normalization_short(normalization: Any) -> str:
    """Scale and shift, as short as possible."""
    if normalization is None:
        return "unknown"
    scale, shift = normalization["scale"], normalization["shift"]
    if len(scale) > 1 or len(shift) > 1:
        return "per channel"
    return f"{scale[0]:g}" + (f"; {shift[0]:g}" if shift[0] else "")


def notes(vae: "ListedVAE") -> list[str]:
    """Notes on one VAE. An unknown normalization is part of the table."""
    problems = [problem for problem in vae.facts["problems"] if not problem.startswith("The normalization is unknown")]
    same = f"Same weights as {', '.join(vae.duplicates)}."
    cast = f"The same known VAE as {', '.join(vae.rounded)}, in another precision or as separate parts."
    selection = vae.facts["selection"]
    several = [f"{selection['text'][:1].upper() + selection['text'][1:]}."] if selection and selection["others"] else []
    return [*several, *([same] if vae.duplicates else []), *([cast] if vae.rounded else []), *problems]


def print_rows(title: str, columns: Sequence[str], rows: list[list[str]], shrinking: str) -> None:
    """A table and an empty line; one column shrinks if the terminal is narrow."""
    if not rows:
        return
    rows = [list(map(visible, line)) for line in rows]
    narrow = columns.index(shrinking)
    widths = [max(len(line[i]) + 1 for line in (columns, *rows)) for i in range(len(columns))]
    width = max(console().width - sum(widths) + widths[narrow] - 1, MIN_WIDTH)
    print_table(
        title, columns, [[*line[:narrow], shorten(line[narrow], width), *line[narrow + 1 :]] for line in rows], 2
    )
    console().print()


def print_under(title: str, lines: list[tuple[str, str]]) -> None:
    """Names and notes below the tables."""
    if lines:
        print_facts(title, lines)
        console().print()


def as_facts(listing: "Listing") -> dict[str, Any]:
    """The listing for a program."""
    return {
        "folders": listing.folders,
        "vaes": [vae_facts(vae) for vae in listing.vaes],
        "unusable": [vars(file) for file in listing.unusable],
        "troubles": [vars(trouble) for trouble in listing.troubles],
        "known": [entry_facts(entry) for entry in listing.known],
    }


def entry_facts(entry: "CatalogEntry") -> dict[str, Any]:
    """One known VAE for a program, without its sketches."""
    facts = {name: value for name, value in vars(entry).items() if name not in WITHOUT}
    normalization = None if entry.normalization is None else entry.normalization.as_json()
    fingerprint = None if entry.weights is None else entry.weights.fingerprint
    files = [vars(file) for file in entry.files]
    return facts | {"normalization": normalization, "fingerprint": fingerprint, "files": files}


def vae_facts(vae: "ListedVAE") -> dict[str, Any]:
    """One VAE for a program."""
    own = {name: value for name, value in vars(vae).items() if name != "facts"}
    return {**own, **vae.facts}
