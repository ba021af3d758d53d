"""Folders of any size and depth: listed quickly, none of their images opened before it is needed."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.domains.images.decode import Pixels, decoded_file, sides_of_file
from vaekit.errors import printable
from vaekit.training.log import LOG
from vaekit.training.run import CHECKPOINTS, RECIPE

Listed = tuple[str, int]
"""A file's name in the folder, with slashes, and its size in bytes."""


@dataclass(frozen=True, eq=False)
class Folder:
    """Image files in a folder and below it."""

    root: str
    names: Sequence[str]
    """With slashes."""
    digest: str
    kind = "images"

    def __len__(self) -> int:
        return len(self.names)

    def name(self, item: int) -> str:
        return self.names[item]

    def read(self, item: int, shortest: int | None) -> Pixels:
        return decoded_file(Path(self.root, self.names[item]), shortest)

    def sides(self, item: int) -> tuple[int, int]:
        return sides_of_file(Path(self.root, self.names[item]))


def folder_of(root: Path, files: Sequence[Listed]) -> Folder:
    """The images among the files of a folder."""
    return Folder(os.fspath(root), [name for name, _ in files], digest_of(files))


def digest_of(files: Iterable[Listed]) -> str:
    """SHA-256 over names and sizes, in their order: what tells one data set from another without reading it all. A
    image replaced by another of the same size and name goes unnoticed."""
    whole = hashlib.sha256()
    for name, size in files:
        whole.update(b"%s\t%d\n" % (os.fsencode(name), size))
    return whole.hexdigest()


def files_below(root: Path, endings: Collection[str], note: Callable[[str, str], None]) -> list[Listed]:
    """The files that end in one of these (lower case, with the dot), in a folder and below it, sorted by name.

    What is hidden is passed over, files and folders, and so are folders below this one that hold a run of vaekit's:
    images in them show how it went, or are copies of those that it held out. Links are followed; a folder that is
    reached twice is listed once, so that a link to a folder above ends nowhere.

    Args:
        root: the folder.
        endings: such as ".png".
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
            waiting += sorted(_listed(folder, inside, endings, found, note), reverse=True)
    found.sort()
    return found


def unlisted(inside: str, error: OSError) -> str:
    """That a folder cannot be looked into, and why."""
    return f"The folder {printable(inside or '.')} cannot be listed: {error.strerror}."


def _listed(
    folder: str, inside: str, endings: Collection[str], found: list[Listed], note: Callable[[str, str], None]
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
                    _look(entry, inside + entry.name, endings, found, below, note)
    except OSError as error:
        note(inside or ".", unlisted(inside, error))
    if inside and RECIPE in signs and len(signs) > 1:
        note(inside, f"{printable(inside)} holds a run of vaekit's, whose images are no data.")
        del found[before:], below[:]
    return below


def _look(
    entry: os.DirEntry[str],
    name: str,
    endings: Collection[str],
    found: list[Listed],
    below: list[str],
    note: Callable[[str, str], None],
) -> None:
    """Add an entry of a folder to the files that were found, or to the folders that are to be listed."""
    try:
        if entry.is_dir():
            below.append(f"{name}/")
        elif ending(name) in endings:
            if entry.is_file():
                found.append((name, entry.stat().st_size))
            elif entry.is_symlink():
                note(name, f"{printable(name)} is a link that leads nowhere.")
    except OSError as error:
        note(name, f"{printable(name)} cannot be followed: {error.strerror}.")


def ending(name: str) -> str:
    """Of a file's name, lower case, with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (there may be a million)
