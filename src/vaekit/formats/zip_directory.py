"""Read the directory of a zip, strictly.

Python's `zipfile` accepts much that lets two readers interpret a file differently (a name cut at a NUL, bytes
before the zip, a directory that is not where it should be) and copies the whole directory. What torch writes needs
none of that. The central directory is authoritative here, and each local header is checked against it. Compressed
records are refused unless the caller accepts them: they cannot be memory-mapped.

Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3 and 4.5.3 (zip64).
"""

import mmap
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vaekit.errors import printable
from vaekit.formats.tensor_file import LONGEST_NAME, check_apart

ZIP_START, EMPTY_START = b"PK\x03\x04", b"PK\x05\x06"
"""The first bytes of a zip with records and of one without."""
LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")
CENTRAL_HEADER = struct.Struct("<4s4xHH8xIIHHHH2xII")
END = struct.Struct("<4sHHHHIIH")
END_64 = struct.Struct("<4sQ4xIIQQQQ")
LOCATOR_64 = struct.Struct("<4sIQI")
LONGEST_COMMENT = 0xFFFF
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
"""The value of a field that is too small for its number, which is then stored in a zip64 field."""
ENCRYPTED = 0x2041
"""Bits of the flags: encrypted, strongly encrypted, and with a masked directory."""
MOST_RECORDS = 100_000
"""The maximum number of records; a checkpoint has slightly more than one per tensor."""


DEFLATED = 8
"""The only compression method that is read; torch's and numpy's zips use no other."""

SLACK = 2**16
"""By how many bytes the start of a compressed record may exceed its content: what is incompressible grows a little."""


@dataclass(frozen=True)
class Record:
    """One file in a zip: the offset and the number of its bytes."""

    start: int
    size: int
    packed: int | None = None
    """The number of its bytes in the zip if it is compressed; None if it is stored."""

    @property
    def end(self) -> int:
        """The offset after its bytes in the zip."""
        return self.start + (self.size if self.packed is None else self.packed)


class Packed(ValueError):
    """A record is compressed: it cannot be memory-mapped, and unpacking may exhaust memory."""


def records_of(mapped: mmap.mmap, compressed: bool = False) -> dict[str, Record]:
    """The records of a zip by name: none encrypted, linked, duplicated or misplaced.

    Args:
        mapped: the whole file.
        compressed: whether to accept records that are compressed.

    Raises:
        Packed: one is compressed, or by an unknown method.
        ValueError, struct.error: it is damaged or hostile.
    """
    first, last, count = directory(mapped)
    records: dict[str, Record] = {}
    spans: list[tuple[int, int, str]] = []
    for name, at, record in entries(mapped, first, last, count, compressed):
        check_name(name)
        if name in records:  # readers disagree on which of them is used
            raise ValueError("a zip with duplicate record names")
        records[name] = record
        spans.append((at, record.end - at, name))
    check_apart(spans, first)
    return records


def content_of(mapped: mmap.mmap, record: Record, most: int | None = None) -> bytes:
    """The bytes of a record, decompressed; not more than `most`.

    Raises:
        ValueError: it cannot be decompressed, or not to the size that the directory states.
    """
    size = record.size if most is None else min(most, record.size)
    if record.packed is None:
        return mapped[record.start : record.start + size]
    end = record.end if most is None else min(record.end, record.start + size + SLACK)
    try:
        # One byte more than expected shows that there is more, without unpacking it.
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(mapped[record.start : end], size + 1)
    except zlib.error as error:
        raise ValueError(f"a record that cannot be decompressed ({error})") from error
    if len(content) < size or len(content) > record.size:
        raise ValueError("a record of another size than the directory states")
    return content[:size]


def directory(mapped: mmap.mmap) -> tuple[int, int, int]:
    """The start and end of the central directory, and its number of records."""
    at = mapped.rfind(b"PK\x05\x06", max(0, len(mapped) - END.size - LONGEST_COMMENT))
    if at < 0:
        raise ValueError("a zip without a directory")
    _, disk, first_disk, here, count, size, start, comment = unpacked(END, mapped, at)
    if at + END.size + comment != len(mapped):
        raise ValueError("a zip with data after its end")
    end, total = at, here
    if FULL_16 in (here, count) or FULL_32 in (size, start) or is_64(mapped, at):
        end, disk, first_disk, here, count, size, start = directory_64(mapped, at)
        total = here
    if disk or first_disk or total != count or start + size != end:
        raise ValueError("a multi-part zip, or one with a misplaced directory")
    if count > MOST_RECORDS:
        raise ValueError(f"a zip with {count:,} records")
    return start, end, count


def is_64(mapped: mmap.mmap, end: int) -> bool:
    """Whether a zip64 locator precedes the end record."""
    return end >= LOCATOR_64.size and mapped[end - LOCATOR_64.size : end - LOCATOR_64.size + 4] == b"PK\x06\x07"


def directory_64(mapped: mmap.mmap, end: int) -> tuple[Any, ...]:
    """The zip64 end record: its offset, two disk numbers, two counts, size and start of the directory."""
    signature, disk, at, disks = unpacked(LOCATOR_64, mapped, end - LOCATOR_64.size)
    if signature != b"PK\x06\x07" or disk or disks != 1:
        raise ValueError("a zip without a zip64 size")
    signature, length, *facts = unpacked(END_64, mapped, at)
    if signature != b"PK\x06\x06" or at + 12 + length != end - LOCATOR_64.size:
        raise ValueError("a zip64 with a misplaced end record")
    return (at, *facts)


def entries(
    mapped: mmap.mmap, first: int, last: int, count: int, compressed: bool
) -> Iterator[tuple[str, int, Record]]:
    """Each record of the directory: its name, the offset of its local header, and its size."""
    at = first
    for _ in range(count):
        fields = unpacked(CENTRAL_HEADER, mapped, at)
        signature, flags, method, packed, size, name_size, extra_size, comment_size, disk, attributes, header = fields
        name_at = at + CENTRAL_HEADER.size
        extra_at = name_at + name_size
        at = extra_at + extra_size + comment_size
        if signature != b"PK\x01\x02" or at > last:
            raise ValueError("a zip with a truncated directory")
        raw = mapped[name_at:extra_at]
        name = raw.decode("utf-8" if flags & 0x800 else "cp437")
        size, packed, header = widened(mapped[extra_at : extra_at + extra_size], [size, packed, header])
        if flags & ENCRYPTED or disk:
            raise ValueError("an encrypted or multi-part zip")
        if method and not (compressed and method == DEFLATED):
            raise Packed(name)
        if (packed != size and not method) or stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"the record {printable(name)} is not a regular file")
        yield name, header, Record(data_start(mapped, header, raw, method), size, packed if method else None)
    if at != last:
        raise ValueError("a zip with a wrong number of directory entries")


def widened(extra: bytes, fields: list[int]) -> list[int]:
    """The sizes and the offset of a record; values that did not fit are taken from the zip64 extra field, in order."""
    wide_fields = b""
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<HH", extra)
        if tag == 1:
            if wide_fields or length > len(extra) - 4:
                raise ValueError("a zip with an invalid zip64 field")
            wide_fields = extra[4 : 4 + length]
        extra = extra[4 + length :]
    result = []
    for field in fields:
        if field == FULL_32:
            (field,) = struct.unpack_from("<Q", wide_fields)
            wide_fields = wide_fields[8:]
        result.append(field)
    return result


def data_start(mapped: mmap.mmap, header: int, name: bytes, method: int) -> int:
    """The offset of a record's data, after its local header, which must have the same name and method."""
    signature, flags, own_method, name_size, extra_size = unpacked(LOCAL_HEADER, mapped, header)
    name_at = header + LOCAL_HEADER.size
    same = mapped[name_at : name_at + name_size] == name
    if signature != ZIP_START or flags & ENCRYPTED or own_method != method or not same:
        raise ValueError(f"the record {printable(name.decode('ascii', 'replace'))} is not at its stated offset")
    return name_at + name_size + extra_size


def unpacked(layout: struct.Struct, mapped: mmap.mmap, at: int) -> tuple[Any, ...]:
    """The fields at an offset of the file."""
    if not 0 <= at <= len(mapped) - layout.size:
        raise ValueError("a zip with an offset outside the file")
    return layout.unpack_from(mapped, at)


def check_name(name: str) -> None:
    """Reject names that escape a folder, or that readers interpret differently.

    Raises:
        ValueError: the name is not allowed.
    """
    steps = name.removesuffix("/").split("/")
    climbs = any(step in ("", ".", "..") for step in steps) or "\\" in name or name[1:2] == ":"
    # The first step is the original file name, in any language.
    if climbs or len(name) > LONGEST_NAME or any(unicodedata.category(character) == "Cc" for character in name):
        raise ValueError(f"a zip with the invalid record name {printable(name)!r}")
