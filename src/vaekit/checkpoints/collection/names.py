"""A name -> a file in the models folders, or a known VAE's file wherever it is.

What a name may be, the first that fits wins: the path below a models folder; that path without the ending; the file's
name; the file's name without the ending; the checkpoint's name, for a file such as `model.vae.pt` beside it, which
wins over the checkpoint itself; the name of a known VAE whose very file is there under whatever name, or in the cache
of the Hub. Two files for one name are an error, never a choice.
"""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from vaekit.checkpoints.cards import Card, CardFile, card_named, cards
from vaekit.checkpoints.collection.folders import Entry, scan_all
from vaekit.checkpoints.collection.hashes import is_file_of, sha256_of
from vaekit.checkpoints.formats.files import is_there
from vaekit.checkpoints.locate import shorten
from vaekit.errors import AmbiguousName, NotFound, VaekitError, legible


def find_named(name: str, folders: Sequence[Path]) -> Path:
    """The file or folder that a name stands for.

    Raises:
        AmbiguousName: several files have this name.
        NotFound: none has, or it is a known VAE that was not fetched yet.
    """
    below = [folder / name for folder in folders if _is_below(name) and is_there(folder / name)]
    if below:
        return below[0]  # of several folders, the first: as with PATH
    entries, _ = scan_all(folders)
    fitting = entries_named(name, entries)
    if len(fitting) > 1:
        raise AmbiguousName(
            f"{len(fitting)} files are called {legible(name)!r}: {', '.join(str(entry.path) for entry in fitting)}.",
            "Expected a name that only one file has.",
            "Give more of its name, with the ending or the folder, or its path.",
        )
    if fitting:
        return fitting[0].path
    card = card_named(name)
    at_hand = find_card(card, entries) if card is not None else None
    if at_hand is None:
        raise unknown_name(name, card, entries, folders)
    return at_hand


def entries_named(name: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries that a name fits best: one in good order, several where the name does not tell them apart."""
    return _fitting(name, _index(entries))


def _index(entries: Sequence[Entry]) -> list[dict[str, list[Entry]]]:
    """What each name may stand for, a table for each way of naming; the ways in order."""
    tables: list[dict[str, list[Entry]]] = [defaultdict(list) for _ in range(4)]
    for entry in entries:
        ways = (
            {entry.relative},
            {entry.relative.removesuffix(entry.ending)},
            {entry.path.name},
            {entry.stem, entry.beside} - {""},
        )
        for table, names in zip(tables, ways, strict=True):
            for name in names:
                table[name].append(entry)
    return tables


def _fitting(name: str, tables: Sequence[Mapping[str, list[Entry]]]) -> list[Entry]:
    fitting = next((table[name] for table in tables if name in table), [])
    distinct = list({entry.path.resolve(): entry for entry in fitting}.values()) if len(fitting) > 1 else fitting
    return [entry for entry in distinct if entry.beside == name] or distinct


def find_card(card: Card, entries: Sequence[Entry]) -> Path | None:
    """A file of a known VAE, recognised by its hash in the models folders, or in the cache of the Hub."""
    found = find_among(card, entries)
    return found[0] if found is not None else cached_by_the_hub(card.files[0])


def find_among(card: Card, entries: Sequence[Entry]) -> tuple[Path, CardFile] | None:
    """The first file in the models folders that is one of a card's, by its hash, whatever its name."""
    for entry in entries:
        try:
            file = is_file_of(card, entry.files[0])
        except (OSError, VaekitError):  # unreadable, so not this one
            continue
        if file is not None:
            return entry.path, file
    return None


def cached_by_the_hub(file: CardFile) -> Path | None:
    """A file that a program such as diffusers has fetched into the Hub's own cache; only with the hash that it has."""
    if not file.repo:
        return None
    from huggingface_hub import try_to_load_from_cache  # it takes a fifth of a second

    try:
        cached = try_to_load_from_cache(file.repo, file.path)
    except (OSError, ValueError):  # a name that no repository can have
        return None
    if not isinstance(cached, str) or not is_there(Path(cached)):
        return None
    return Path(cached) if not file.sha256 or sha256_of(Path(cached)) == file.sha256 else None


def names_of(entries: Sequence[Entry]) -> dict[Path, str]:
    """The shortest name of each entry that stands for it alone; its path where nothing shorter does."""
    tables = _index(entries)
    packaged = {card.name for card in cards() if card.packaged}
    named: dict[Path, str] = {}
    for entry in entries:
        shorter = (entry.stem, entry.path.name, entry.relative.removesuffix(entry.ending), entry.relative)
        own = (name for name in shorter if name not in packaged and _fitting(name, tables) == [entry])
        named[entry.path] = next(own, str(entry.path))
    return named


def unknown_name(name: str, card: Card | None, entries: Sequence[Entry], folders: Sequence[Path]) -> NotFound:
    """The error for a name that nothing has."""
    if card is not None:
        return NotFound(
            f"{card.name!r} is a known VAE ({card.about}), but its file is not here.",
            "",
            f"`vaekit get {card.name}` fetches it.",
        )
    known = [known.name for known in cards()]
    here = [entry.stem for entry in entries]
    likely = did_you_mean(name, [*known, *here])
    where = " or ".join(str(folder) for folder in folders)
    return NotFound(
        f"There is no VAE called {legible(name)!r}, and no file or folder of that name, here or in {where}.",
        f"Known names: {shorten(known)}.",
        f"{likely} `vaekit list --known` tells what there is; give a name, or the path to a VAE.".strip(),
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A question with the names closest to one that is not there; empty where none is close."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean {' or '.join(map(legible, close))}?" if close else ""


def _is_below(name: str) -> bool:
    """Whether a name can be the path of something below a folder."""
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
