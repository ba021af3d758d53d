"""List the files of folders recursively, fast enough for millions of files."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from vaekit.errors import printable
from vaekit.run_folder import CHECKPOINTS, LOG, RECIPE

Listed = tuple[str, int]
"""A file's path relative to the folder, with slashes, and its size in bytes."""


def digest_of(files: Iterable[Listed]) -> str:
    """SHA-256 over names and sizes in order: identifies a data set without reading contents. A file that is replaced by
    another one with the same name and size is not noticed."""
    digest = hashlib.sha256()
    for name, size in files:
        digest.update(b"%s\t%d\n" % (os.fsencode(name), size))
    return digest.hexdigest()


def files_below(root: Path, suffixes: Collection[str], note: Callable[[str, str], None]) -> list[Listed]:
    """The files in a folder and its subfolders with one of the suffixes, sorted by name.

    Hidden files and folders are ignored, and so are subfolders with a training run of vaekit: their files are logs, or
    copies of held-out items. Links are followed; a folder that is reached several times is listed once, so that links
    to parent folders are harmless.

    Args:
        root: the folder.
        suffixes: lower case, with the dot, such as ".png".
        note: called with the name of each folder, file or link that is skipped, and the reason.
    """
    files: list[Listed] = []
    pending, visited = [""], set()
    while pending:
        inside = pending.pop()
        folder = os.path.join(root, inside)  # noqa: PTH118 (there may be a million)
        try:
            status = os.stat(folder)  # noqa: PTH116
        except OSError as error:
            note(inside or ".", unlisted(inside, error))
            continue
        if (status.st_dev, status.st_ino) not in visited:
            visited.add((status.st_dev, status.st_ino))
            pending += sorted(_listed(folder, inside, suffixes, files, note), reverse=True)
    files.sort()
    return files


def unlisted(inside: str, error: OSError) -> str:
    """The message for a folder that cannot be listed."""
    return f"The folder {printable(inside or '.')} cannot be listed: {error.strerror}."


def _listed(
    folder: str, inside: str, suffixes: Collection[str], files: list[Listed], note: Callable[[str, str], None]
) -> list[str]:
    """Add the files of one folder to `files`; returns the names of its subfolders."""
    subfolders: list[str] = []
    before, run_files = len(files), set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in (RECIPE, LOG, CHECKPOINTS):
                    run_files.add(entry.name)
                if entry.name[0] != ".":
                    _look(entry, inside + entry.name, suffixes, files, subfolders, note)
    except OSError as error:
        note(inside or ".", unlisted(inside, error))
    if inside and RECIPE in run_files and len(run_files) > 1:
        note(inside, f"{printable(inside)} is the folder of a training run, whose files are not data.")
        del files[before:], subfolders[:]
    return subfolders


def _look(
    entry: os.DirEntry[str],
    name: str,
    suffixes: Collection[str],
    files: list[Listed],
    subfolders: list[str],
    note: Callable[[str, str], None],
) -> None:
    """Add an entry of a folder to the files or the subfolders."""
    try:
        if entry.is_dir():
            subfolders.append(f"{name}/")
        elif suffix_of(name) in suffixes:
            if entry.is_file():
                files.append((name, entry.stat().st_size))
            elif entry.is_symlink() and not os.path.exists(entry.path):
                note(name, f"{printable(name)} is a broken link.")
            else:
                note(name, f"{printable(name)} is no regular file, but a pipe, a socket or a device.")
    except OSError as error:
        note(name, f"{printable(name)} cannot be followed: {error.strerror}.")


def by_suffix(files: Iterable[Listed]) -> dict[str, list[Listed]]:
    """Group files by suffix, in the given order."""
    groups: dict[str, list[Listed]] = {}
    for name, size in files:
        groups.setdefault(suffix_of(name), []).append((name, size))
    return groups


def suffix_of(name: str) -> str:
    """The suffix of a file name, lower case, with the dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (there may be a million)
