"""The file of a known VAE: by its hash in the models folders, whatever its name, or in the cache of the Hub."""

import difflib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vaekit.catalog.entries import CatalogEntry, CatalogFile, catalog_entries, entry_named
from vaekit.errors import NotFound, VaekitError, printable, shorten
from vaekit.formats.paths import exists
from vaekit.identification.file_hashes import sha256_of
from vaekit.library.folders import Entry


def known_file(name: str, entries: Sequence[Entry], folders: Sequence[Path]) -> Path:
    """The file of the known VAE of this name.

    Raises:
        NotFound: there is no such VAE, or it was not fetched yet.
    """
    card = entry_named(name)
    at_hand = find_card(card, entries) if card is not None else None
    if at_hand is None:
        raise unknown_name(name, card, entries, folders)
    return at_hand


def find_card(card: CatalogEntry, entries: Sequence[Entry]) -> Path | None:
    """A file of a known VAE, recognized by its hash in the models folders, or in the cache of the Hub."""
    found = find_among(card, entries)
    return found[0] if found is not None else cached_by_the_hub(card.files[0])


def find_among(card: CatalogEntry, entries: Sequence[Entry]) -> tuple[Path, CatalogFile] | None:
    """The first file in the models folders that is one of a card's, by its hash, whatever its name."""
    for entry in entries:
        try:
            file = is_file_of(card, entry.files[0])
        except (OSError, VaekitError):  # unreadable, so not this one
            continue
        if file is not None:
            return entry.path, file
    return None


def cached_by_the_hub(file: CatalogFile) -> Path | None:
    """A file that a program such as diffusers has fetched into the Hub's own cache; only with the hash that it has."""
    if not file.repo:
        return None
    from huggingface_hub import try_to_load_from_cache  # it takes a fifth of a second

    try:
        cached = try_to_load_from_cache(file.repo, file.path)
    except (OSError, ValueError):  # a name that no repository can have
        return None
    if not isinstance(cached, str) or not exists(Path(cached)):
        return None
    return Path(cached) if not file.sha256 or sha256_of(Path(cached)) == file.sha256 else None


def is_file_of(card: CatalogEntry, path: Path) -> CatalogFile | None:
    """The file of a card that this one is, by its hash.

    Only a file that can be it is read: one of the right size; where the card does not tell the size, one of the right
    name.

    Raises:
        BadCheckpoint: the file cannot be read.
        OSError: the file is not there.
    """
    size = path.stat().st_size

    def can_be(file: CatalogFile) -> bool:
        names = (PurePosixPath(file.path).name, card.name + PurePosixPath(file.path).suffix)
        return bool(file.sha256) and (file.bytes == size if file.bytes else path.name in names)

    return next((file for file in card.files if can_be(file) and sha256_of(path) == file.sha256), None)


def unknown_name(name: str, card: CatalogEntry | None, entries: Sequence[Entry], folders: Sequence[Path]) -> NotFound:
    """The error for a name that nothing has."""
    if card is not None:
        return NotFound(
            f"{card.name!r} is a known VAE ({card.about}), but its file is not here.",
            "",
            f"`vaekit get {card.name}` fetches it.",
        )
    known = [known.name for known in catalog_entries()]
    here = [entry.stem for entry in entries]
    likely = did_you_mean(name, [*known, *here])
    where = " or ".join(str(folder) for folder in folders)
    return NotFound(
        f"There is no VAE called {printable(name)!r}, and no file or folder of that name, here or in {where}.",
        f"Known names: {shorten(known)}.",
        f"{likely} `vaekit list --known` tells what there is; give a name, or the path to a VAE.".strip(),
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A question with the names closest to one that is not there; empty where none is close."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean {' or '.join(map(printable, close))}?" if close else ""
