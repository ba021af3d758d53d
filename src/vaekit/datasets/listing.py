"""List the files of folders of any size and depth, quickly."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from vaekit.errors import printable
from vaekit.run_folder import CHECKPOINTS, LOG, RECIPE

Listed = tuple[str, int]
"""A file's name in the folder, with slashes, and its size in bytes."""


def digest_of(files: Iterable[Listed]) -> str:
    """SHA-256 over names and sizes, in their order: distinguishes data sets without reading their contents. A
    file replaced by another of the same size and name goes unnoticed."""
    whole = hashlib.sha256()
    for name, size in files:
        whole.update(b"%s\t%d\n" % (os.fsencode(name), size))
    return whole.hexdigest()


def files_below(root: Path, suffixes: Collection[str], note: Callable[[str, str], None]) -> list[Listed]:
    """The files that end in one of these (lower case, with the dot), in a folder and below it, sorted by name.

    Hidden files and folders are passed over, and so are folders below this one that hold a training run of vaekit's:
    files in them show how it went, or are copies of held-out items. Links are followed; a folder that is
    reached twice is listed once, so that a link to a folder above ends nowhere.

    Args:
        root: the folder.
        suffixes: such as ".png".
        note: told the name of each folder that is not listed and of each file or link that cannot be followed, and why.
    """
    found: list[Listed] = []
    waiting, seen = [""], set()
    while waiting:
        inside = waiting.pop()
        folder = os.path.join(root, inside)  # noqa: PTH118 (there may be a million)
        try:
            status = os.stat(folder)  # noqa: PTH116
        except OSError as error:
            note(inside or ".", unlisted(inside, error))
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            waiting += sorted(_listed(folder, inside, suffixes, found, note), reverse=True)
    found.sort()
    return found


def unlisted(inside: str, error: OSError) -> str:
    """That a folder cannot be looked into, and why."""
    return f"The folder {printable(inside or '.')} cannot be listed: {error.strerror}."


def _listed(
    folder: str, inside: str, suffixes: Collection[str], found: list[Listed], note: Callable[[str, str], None]
) -> list[str]:
    """Add one folder's files to those found; the names of the folders in it."""
    below: list[str] = []
    before, signs = len(found), set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in (RECIPE, LOG, CHECKPOINTS):
                    signs.add(entry.name)
                if entry.name[0] != ".":
                    _look(entry, inside + entry.name, suffixes, found, below, note)
    except OSError as error:
        note(inside or ".", unlisted(inside, error))
    if inside and RECIPE in signs and len(signs) > 1:
        note(inside, f"{printable(inside)} holds a run of vaekit's, whose files are no data.")
        del found[before:], below[:]
    return below


def _look(
    entry: os.DirEntry[str],
    name: str,
    suffixes: Collection[str],
    found: list[Listed],
    below: list[str],
    note: Callable[[str, str], None],
) -> None:
    """Add an entry of a folder to the files that were found, or to the folders that are to be listed."""
    try:
        if entry.is_dir():
            below.append(f"{name}/")
        elif suffix_of(name) in suffixes:
            if entry.is_file():
                found.append((name, entry.stat().st_size))
            elif entry.is_symlink():
                note(name, f"{printable(name)} is a link that leads nowhere.")
    except OSError as error:
        note(name, f"{printable(name)} cannot be followed: {error.strerror}.")


def by_suffix(files: Iterable[Listed]) -> dict[str, list[Listed]]:
    """Files by their suffixes, each group in the order given."""
    groups: dict[str, list[Listed]] = {}
    for name, size in files:
        groups.setdefault(suffix_of(name), []).append((name, size))
    return groups


def suffix_of(name: str) -> str:
    """The suffix of a file's name, lower case, with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (there may be a million)
