"""Files and folders that appear whole or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaekit.errors import CannotWrite, CannotWriteHere

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the disk says of itself, not of one file."""


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; move it there when the block ends well, remove it when it does not.

    The file is on the disk before it gets its name, so that a crash, a `kill -9` or a full disk leaves either the old
    file or the new one. Parent folders are made.

    Raises:
        CannotWriteHere: the folder cannot be made or written to, or the disk is full.
        CannotWrite: the disk refuses this file only, or a writing library failed so.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        temporary.open("xb").close()
    except OSError as error:  # its name is fine: it is the folder that refuses
        raise cannot_write(target, error, CannotWriteHere) from error
    except ValueError as error:  # a name with a NUL in it
        raise cannot_write(target, error) from error
    try:
        yield temporary
        _settle(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def resumable_file(target: Path, key: str) -> Iterator[Path]:
    """Like `atomic_file`, but what was written before a failure is kept, and the next call with this key continues it.

    The temporary file is hidden, beside `target`. Raise after removing it where its content is no good.

    Args:
        target: the final name.
        key: what is being written, such as the start of its hash: another content gets another temporary file.

    Raises:
        CannotWrite: the folder cannot be made or written to, or the disk is full.
    """
    temporary = target.with_name(f"{_prefix(target)}{key}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    yield temporary
    try:
        _settle(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` that becomes `target` when the block ends well, and vanishes if not.

    Raises:
        CannotWrite: something is in the way, or the disk refuses.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CannotWrite(
                f"{target} is there already and is not an empty folder.", "", "Choose another name, or remove it first."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(target)
        temporary.mkdir()
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _settle(file)
        if target.exists():
            target.rmdir()
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_group(folder: Path) -> Iterator[Path]:
    """Give a temporary folder inside `folder`; the files that are in it when the block ends well move to `folder`
    together, over those of the same names. Whatever else is there stays.

    Of several files the old ones go before the new ones come: a crash in between leaves some missing, and never an old
    one beside a new one that it does not belong to.

    Raises:
        CannotWrite: the folder cannot be made or written to, or the disk is full.
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
            _settle(file)
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


def _settle(path: Path) -> None:
    """Force the file to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _temporary(target: Path) -> Path:
    """A name beside `target` that nothing has. What is made under it gets the permissions that new files get here.

    `tempfile` would make it private, and the permissions to give it afterwards can only be learnt by changing those of
    the whole process for a moment, in which other threads write.
    """
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.part")


def _prefix(target: Path) -> str:
    """The start of a temporary name: hidden, and short enough beside any name that the file system allows."""
    return f".{target.name[:40]}."


def cannot_write(target: Path, error: Exception, kind: type[CannotWrite] = CannotWrite) -> CannotWrite:
    """The error a user sees when `target` could not be written because of `error`: on a full disk, of that kind."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    full = isinstance(error, OSError) and error.errno in FULL
    return (CannotWriteHere if full else kind)(
        f"Could not write {target}: {reason}.",
        "Nothing was left under that name.",
        "Choose a folder that you may write to, on a disk with room, and run the command again.",
    )
