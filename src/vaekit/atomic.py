"""Write files and folders atomically: completely or not at all."""

import errno
import filecmp
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vaekit.errors import FULL_DISK, CannotWrite, CannotWriteHere, reason_of


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`, which replaces `target` if the block succeeds and is removed otherwise.

    The file is synced to disk before it is renamed, so that a crash, `kill -9` or a full disk leaves either the old
    file or the new one. Parent folders are created.

    Raises:
        CannotWriteHere: the folder cannot be created or is not writable, or the disk is full.
        CannotWrite: only this file cannot be written, or the block raised an OSError.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        temporary.open("xb").close()
    except OSError as error:  # temporary names are valid: the folder is not writable
        raise cannot_write(target, error, CannotWriteHere) from error
    except ValueError as error:  # a name with a NUL character
        raise cannot_write(target, error) from error
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def resumable_file(target: Path, key: str) -> Iterator[Path]:
    """Like `atomic_file`, but an incomplete file is kept after a failure, and the next call with this key resumes it.

    The temporary file is hidden, beside `target`. To discard invalid content, remove the file before raising.

    Args:
        target: the final name.
        key: identifies the content, such as the start of its hash: other content gets another temporary file.

    Raises:
        CannotWrite: the folder cannot be created or is not writable, or the disk is full.
    """
    temporary = target.with_name(f"{_prefix(target)}{key}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    yield temporary
    try:
        _sync(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error


@contextmanager
def atomic_folder(target: Path, names: Collection[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that becomes `target` if the block succeeds and is removed otherwise.

    Args:
        target: the folder.
        names: of the files that the block writes. A folder with the very same files is accepted and kept: the process
            that wrote them may have been killed just afterwards, and the same command goes on.

    Raises:
        CannotWrite: `target` is a file or a folder with other content, the parent folder is not writable, or the disk
            is full.
    """
    try:
        present = {path.name for path in target.iterdir()} if target.is_dir() else set()
        if not present <= set(names) or (target.exists() and not target.is_dir()):
            raise _occupied(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        temporary.mkdir()
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        if present:
            if not _same_files(temporary, target):
                raise _occupied(target)
            return
        if target.exists():
            target.rmdir()
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _occupied(target: Path) -> CannotWrite:
    return CannotWrite(f"{target} exists and is not an empty folder.", "", "Choose another name, or remove it first.")


def _same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold files of the same names and content."""
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and not any(filecmp.cmpfiles(one, other, names, False)[1:])


@contextmanager
def atomic_group(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `folder`; if the block succeeds, its files are moved to `folder` and replace
    those of the same names. Other files in `folder` are kept.

    If there are several files, all old ones are removed before the first new one is moved: a crash in between leaves
    files missing, but never mixes old and new ones.

    Raises:
        CannotWrite: the folder cannot be created or is not writable, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(folder / folder.name)
        temporary.mkdir()
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error) from error
    try:
        yield temporary
        targets = {file: folder / file.name for file in sorted(temporary.iterdir())}
        for file, target in targets.items():
            _sync(file)
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if len(targets) > 1:
            for target in targets.values():
                target.unlink(missing_ok=True)
        for file, target in targets.items():
            os.replace(file, target)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flush a file to disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _temporary(target: Path) -> Path:
    """An unused name beside `target`. A file created with it gets the default permissions.

    `tempfile` would create a private file; the default permissions could be determined only by changing the umask of
    the process, which affects other threads.
    """
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.part")


def _prefix(target: Path) -> str:
    """The start of a temporary name: hidden, and short enough beside any name that the file system allows."""
    return f".{target.name[:40]}."


def cannot_write(target: Path, error: Exception, error_type: type[CannotWrite] = CannotWrite) -> CannotWrite:
    """The error for a failure to write `target`; `CannotWriteHere` if the disk is full, else of the given type."""
    full = isinstance(error, OSError) and error.errno in FULL_DISK
    reason = reason_of(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason += " (a part of this path is a file, not a folder)"
    return (CannotWriteHere if full else error_type)(
        f"Could not write {target}: {reason}.",
        "No incomplete file was left under that name.",
        "Choose a writable folder on a disk with enough free space, and run the command again.",
    )


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text in UTF-8.

    Raises:
        CannotWrite: the disk is full, or the like.
    """
    with atomic_file(path) as part:
        part.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
