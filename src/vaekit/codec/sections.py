"""A file of named sections, each with a checksum."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vaekit.errors import BadArchive, CannotRead, NotFound, reason_of
from vaekit.reading import open_file

MAGIC = b"\x8aVAEKIT\n"
"""The first bytes. The first one is not ASCII, so that programs that change text are noticed."""
END = b"END."
"""The name of the last section."""
HEADER = struct.Struct("<4sQI")
"""Of a section: name, length in bytes, CRC-32 of name and content."""


def write_section(file: BinaryIO, name: bytes, content: bytes) -> None:
    """Append a section.

    Args:
        file: opened for writing.
        name: of four bytes.
        content: of the section.
    """
    file.write(HEADER.pack(name, len(content), zlib.crc32(content, zlib.crc32(name))))
    file.write(content)


def read_sections(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The sections of a file in order, each checked before it is returned, up to the one that ends it.

    Raises:
        NotFound, CannotRead: the file is missing, or cannot be read.
        BadArchive: it is damaged, or no such file.
    """
    try:
        with open_file(path) as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BadArchive(
                    f"{path.name} is not a file that vaekit has compressed.",
                    "Expected one of `vaekit compress`.",
                    "",
                )
            size = os.fstat(file.fileno()).st_size
            name = b""
            while name != END:
                name, content = _section(file, size, path)
                if name == END and file.read(1):
                    raise damaged(path, "there is something behind its end")
                yield name, content
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "Expected a compressed file.", "") from error
    except OSError as error:
        raise CannotRead(f"{path.name} cannot be read: {reason_of(error)}.", "", "") from error


def damaged(path: Path, why: str) -> BadArchive:
    """The error for a damaged file.

    Args:
        path: the file.
        why: a clause.
    """
    return BadArchive(
        f"{path.name} is damaged: {why}.", "Nothing was restored from the damaged part.", "Use another copy of it."
    )


def _section(file: BinaryIO, size: int, path: Path) -> tuple[bytes, bytes]:
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        raise damaged(path, "it is truncated")
    name, length, checksum = HEADER.unpack(header)
    if length > size - file.tell():
        raise damaged(path, "it is truncated, or a length in it is wrong")
    content = file.read(length)
    if zlib.crc32(content, zlib.crc32(name)) != checksum:
        raise damaged(path, "a checksum is wrong")
    return name, content
