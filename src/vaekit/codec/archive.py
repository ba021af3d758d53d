"""A collection of items as one file: groups of items, with what the VAE codes of them and what it does not."""

import json
import lzma
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.sections import END, MAGIC, damaged, read_sections, write_section
from vaekit.errors import BadArchive
from vaekit.records import from_dict

VERSION = 1
HEAD, NAMES, REST, CHAIN = b"HEAD", b"NAME", b"REST", b"CHNK"
"""Names of sections: one head, then the others for each group of items."""
LENGTH = struct.Struct("<Q")
MOST = 2**31
"""Bytes of names and remainders, unpacked."""
MOST_DIGITS, MOST_ITEMS = 64, 2**24
"""Of the names of a group."""
FEW = 5
"""Names that are written as they are."""
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


@dataclass(frozen=True)
class ArchiveHead:
    """What is needed to read the file."""

    domain: str
    fingerprint: str
    """Of the VAE."""
    family: str
    records: int
    """Of the data set, with those that could not be read."""
    step: float
    """The grid of latents, see `LatentGrid`."""
    first: int
    cells: int
    version: int = VERSION

    @property
    def grid(self) -> LatentGrid:
        return LatentGrid(self.step, self.first, self.cells)


@dataclass(frozen=True)
class Entry:
    """An item without what the VAE codes of it."""

    name: str
    coded: bool
    """Whether the VAE codes it."""
    remainder: bytes


@dataclass(frozen=True)
class Group:
    """Consecutive items."""

    entries: Sequence[Entry]
    chain: bytes
    """Those that the VAE codes; see `vaekit.codec.chain`. Empty if there are none."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of the parts of a group."""

    chain: int
    names: int
    remainders: int


def write_head(file: BinaryIO, head: ArchiveHead) -> None:
    """Begin the file."""
    file.write(MAGIC)
    write_section(file, HEAD, json.dumps(asdict(head), separators=(",", ":")).encode())


def write_group(file: BinaryIO, group: Group) -> Sizes:
    """Append a group."""
    short = _short([each.name for each in group.entries])
    names = packed(json.dumps(short, ensure_ascii=False, separators=(",", ":")).encode())
    lengths = b"".join(LENGTH.pack(2 * len(each.remainder) + each.coded) for each in group.entries)
    rest = packed(lengths + b"".join(each.remainder for each in group.entries))
    for name, content in ((NAMES, names), (REST, rest), (CHAIN, group.chain)):
        write_section(file, name, content)
    return Sizes(len(group.chain), len(names), len(rest))


def write_end(file: BinaryIO, items: int) -> None:
    """End the file, with the number of its items."""
    write_section(file, END, json.dumps(items).encode())


def read_archive(path: Path) -> tuple[ArchiveHead, Iterator[Group]]:
    """The content of a file; groups are read one at a time.

    Raises:
        NotFound, CannotRead, BadArchive: it is missing, cannot be read, is damaged, or of a later version; also while
            groups are read.
    """
    sections = read_sections(path)
    try:
        head = _head(_next(sections, HEAD), path)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    return head, _groups(sections, path)


def _groups(sections: Iterator[tuple[bytes, bytes]], path: Path) -> Iterator[Group]:
    items = 0
    for name, content in sections:
        try:
            if name == END:
                if json.loads(content) != items:
                    raise ValueError("items are missing")
                return
            if name != NAMES:
                raise ValueError("its sections are in another order")
            group = Group(_entries(content, _next(sections, REST)), _next(sections, CHAIN))
        except ValueError as error:
            raise damaged(path, str(error)) from error
        items += len(group.entries)
        yield group


def _next(sections: Iterator[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    name, content = next(sections, (b"", b""))
    if name != wanted:
        raise ValueError(f"the section {wanted.decode()} is missing")
    return content


def _head(content: bytes, path: Path) -> ArchiveHead:
    plain = json.loads(content)
    version = plain.get("version") if isinstance(plain, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise BadArchive(
            f"{path.name} has version {version} of the format.",
            f"This version of vaekit reads version {VERSION}.",
            "Install a newer one: pip install --upgrade vaekit",
        )
    return from_dict(ArchiveHead, plain)


def _entries(names: bytes, rest: bytes) -> list[Entry]:
    found = _long(json.loads(unpacked(names, MOST)))
    content, start = unpacked(rest, MOST), len(found) * LENGTH.size
    if not found or len(content) < start:
        raise ValueError("the names of items do not fit their contents")
    entries = []
    for name, (length,) in zip(found, LENGTH.iter_unpack(content[:start]), strict=True):
        end = start + length // 2
        entries.append(Entry(name, bool(length % 2), content[start:end]))
        start = end
    if start != len(content):
        raise ValueError("the names of items do not fit their contents")
    return entries


def packed(content: bytes) -> bytes:
    """Compress by LZMA, with a small header: sections have checksums, and groups may be small."""
    return lzma.compress(content, lzma.FORMAT_ALONE, preset=9)


def unpacked(content: bytes, most: int) -> bytes:
    """The inverse, up to a number of bytes.

    Raises:
        ValueError: it is damaged, or there is more.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2**30)
    try:
        found = decompressor.decompress(content, max_length=most)
    except lzma.LZMAError as error:
        raise ValueError("LZMA data are damaged") from error
    if not decompressor.eof:
        raise ValueError("LZMA data are truncated, or larger than expected")
    return found


def _short(names: Sequence[str]) -> object:
    """Names as plain values: a pattern if they count up, otherwise all of them."""
    match = NUMBERED.fullmatch(names[0])
    if match and len(names) >= FEW:
        prefix, digits, suffix = match.groups()
        pattern = {"prefix": prefix, "first": int(digits), "width": len(digits), "suffix": suffix, "count": len(names)}
        if _long(pattern) == list(names):
            return pattern
    return list(names)


def _long(plain: object) -> list[str]:
    """The inverse.

    Raises:
        ValueError: there are other values.
    """
    match plain:
        case {"prefix": str(prefix), "first": int(first), "width": int(width), "suffix": str(suffix), "count": int(n)}:
            if not (0 <= width <= MOST_DIGITS and 0 < n <= MOST_ITEMS):
                raise ValueError("the names are not as expected")
            return [f"{prefix}{first + number:0{width}d}{suffix}" for number in range(n)]
        case list() if all(isinstance(each, str) for each in plain):
            return plain
    raise ValueError("the names are not as expected")
