"""Open files of the user: only regular files, without ever waiting for one, and as text up to a limit.

A pipe, a socket or a device may block forever, never end, or react to being opened. They are recognized by their status
and never opened. All errors are OSErrors with a `strerror` for messages; see `vaekit.errors.reason_of`.
"""

import errno
import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

CHUNK = 2**24
"""Bytes read at a time, so that Ctrl-C is noticed while a large file is read."""
SETTINGS = 2**24
"""The maximum number of bytes of a file of settings or results: a recipe, a config, a protocol, a model card."""
TABLE = 2**31
"""The maximum number of bytes of a file of data that is read into memory as text: CSV, lines of text."""
ITEM = 2**31
"""The maximum number of bytes of an encoded item, such as an image file."""
LINES = 2**30
"""The maximum number of bytes of a log."""
KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.ESPIPE, "it is a pipe"),
    (stat.S_ISSOCK, errno.ESPIPE, "it is a socket"),
    (stat.S_ISCHR, errno.ESPIPE, "it is a device"),
    (stat.S_ISBLK, errno.ESPIPE, "it is a block device"),
)
"""The kinds of paths other than regular files."""
NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def refuse_beyond_memory(nbytes: int, path: str | os.PathLike[str]) -> None:
    """Check that content of this size, as its file announces it, can be in memory: a small file may unpack to anything.

    Raises:
        Unreadable: the machine has less memory.
    """
    memory = physical_memory()
    if nbytes > memory:
        raise Unreadable(
            errno.E2BIG, f"it unpacks to {nbytes:,} bytes, more than the {memory:,} of this machine", os.fspath(path)
        )


def physical_memory() -> int:
    """The memory of this machine in bytes; unlimited on systems that do not report it, such as Windows."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


class Unreadable(OSError):
    """A file that is not read: not a regular file, or too large. Its text is the reason alone, without the path."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading.

    A file of 0 bytes is read as empty: those of /proc have that size, and some of them wait for events or never end.

    Raises:
        OSError: there is no such file, it may not be read, or it is not a regular file, which is not opened.
    """
    try:
        refuse_irregular(Path(path).stat(), path)
    except ValueError as error:
        raise Unreadable(errno.EINVAL, "its name contains a NUL character", os.fspath(path)) from error
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  the caller closes it
    try:
        status = os.fstat(file.fileno())
        refuse_irregular(status, path)  # it may have been replaced in between
    except OSError:
        file.close()
        raise
    if status.st_size == 0:
        file.close()
        return open(os.devnull, "rb")
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | NON_BLOCKING)


def real_path(path: Path) -> Path:
    """The path without links. Unlike `Path.resolve`, it accepts links that refer to each other."""
    return Path(os.path.realpath(path))


def refuse_irregular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    """Check that a status is that of a regular file.

    Raises:
        Unreadable: it is that of something else.
    """
    for is_kind, number, words in KINDS:
        if is_kind(status.st_mode):
            raise Unreadable(number, f"{words}, not a regular file", os.fspath(path))


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, or is larger.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(errno.E2BIG, f"it has {size:,} bytes, more than the limit of {limit:,}", os.fspath(path))
        content = bytearray()
        while part := file.read(min(CHUNK, limit + 1 - len(content))):
            content += part
    if len(content) > limit:  # it has grown
        raise Unreadable(errno.E2BIG, f"it has more bytes than the limit of {limit:,}", os.fspath(path))
    return bytes(content)


def read_text(path: str | os.PathLike[str], limit: int = SETTINGS, errors: str = "strict") -> str:
    """The text in a regular file, in UTF-8.

    Raises:
        OSError: it cannot be read, or has more than `limit` bytes.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, limit).decode("utf-8", errors)


def read_json(path: str | os.PathLike[str], limit: int = SETTINGS) -> Any:
    """The JSON value in a regular file.

    Raises:
        OSError: it cannot be read, or has more than `limit` bytes.
        ValueError: it is not JSON in UTF-8, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, limit))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def exists(path: Path) -> bool:
    """Whether something exists at a path, even if it cannot be opened, such as a loop of links; False for names that no
    file can have."""
    try:
        path.stat()
    except ValueError:  # a NUL
        return False
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP)
    return True
