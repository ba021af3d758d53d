"""The directory of an uncompressed zip, against Python's own and damaged in its fields."""

import io
import mmap
import stat
import struct
import zipfile

import pytest
from refusals import refuses

from vaekit.formats.tensor_file import LONGEST_NAME
from vaekit.formats.zip_directory import FULL_32, Packed, Record, check_name, directory, records_of, widened

ENTRIES = {"a/data.pkl": b"pickle", "a/data/0": bytes(range(64)), "a/\u00e9": b"", "a/folder/": b""}


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mapped(content: bytes) -> mmap.mmap:
    found = mmap.mmap(-1, len(content))
    found.write(content)
    return found


def test_records_are_where_their_bytes_are() -> None:
    content = zipped(ENTRIES, comment=b"said at the end")
    records = records_of(mapped(content))
    assert {name: content[record.start : record.start + record.size] for name, record in records.items()} == ENTRIES


def test_an_empty_zip_has_no_records() -> None:
    assert records_of(mapped(zipped({}))) == {}


def test_a_zip64_has_the_same_records() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a/data.pkl", "w", force_zip64=True) as entry:
        entry.write(b"pickle")
    content = buffer.getvalue()
    ((name, record),) = records_of(mapped(content)).items()
    assert (name, content[record.start : record.start + record.size]) == ("a/data.pkl", b"pickle")


def test_a_compressed_record_is_named() -> None:
    with refuses(Packed, "a/data.pkl"):
        records_of(mapped(zipped({"a/data.pkl": b"x" * 100}, zipfile.ZIP_DEFLATED)))


END = zipped(ENTRIES).rfind(b"PK\x05\x06")


@pytest.mark.parametrize(
    ("at", "replacement"),
    [
        (END, b"PK\x05\x07"),
        (END + 4, b"\x01"),
        (END + 8, b"\x05"),
        (END + 8, b"\x05\0\x05"),
        (END + 12, b"\0"),
        (END + 16, b"\0"),
        (0, b"PK\x03\x05"),
        (8, b"\x08"),
        (30, b"b"),
    ],
    ids=["signature", "disk", "one count", "both counts", "size", "start", "local", "method", "local name"],
)
def test_damaged_fields_are_refused(at: int, replacement: bytes) -> None:
    content = zipped(ENTRIES)
    assert content[at : at + len(replacement)] != replacement
    with pytest.raises((ValueError, struct.error)):
        records_of(mapped(content[:at] + replacement + content[at + len(replacement) :]))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", zipped(ENTRIES) + b"\0", zipped(ENTRIES)[:-1]])
def test_a_directory_at_another_place_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        directory(mapped(content or b"\0"))


def test_names_occur_once_and_records_lie_apart() -> None:
    twice = zipped({"a/x": b"1", "a/y": b"2"}).replace(b"a/y", b"a/x")
    with pytest.raises(ValueError):
        records_of(mapped(twice))
    inner = zipped({"a/y": b"22"})[: 30 + 3 + 2]
    content = bytearray(zipped({"a/x": inner, "a/y": b"22"}))
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<I", content.index(inner))
    with refuses(ValueError, "a/y"):
        records_of(mapped(bytes(content)))


def test_links_and_records_of_two_sizes_are_no_files() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("a/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"target")
    content = bytearray(zipped({"a/x": b"123"}))
    entry = content.find(b"PK\x01\x02")
    content[entry + 20 : entry + 24] = struct.pack("<I", 2)
    for odd, name in ((buffer.getvalue(), "a/link"), (bytes(content), "a/x")):
        with refuses(ValueError, name):
            records_of(mapped(odd))


def test_fields_that_are_full_are_taken_from_the_zip64_part() -> None:
    extra = struct.pack("<HH3s", 7, 3, b"abc") + struct.pack("<HHQQ", 1, 16, 2**40, 2**41)
    assert widened(extra, [FULL_32, 5, FULL_32]) == [2**40, 5, 2**41]
    assert widened(b"", [1, 2, 3]) == [1, 2, 3]
    for wrong in (extra + extra, struct.pack("<HHQ", 1, 16, 0), b""):
        with pytest.raises((ValueError, struct.error)):
            widened(wrong, [FULL_32, FULL_32, FULL_32])


@pytest.mark.parametrize(
    "name",
    [*("../x", "a/../x", "/x", "a//x", "a/./x", "C:/x", "a\\x", "a/\0", "a/\x85", ""), "x" * (LONGEST_NAME + 1)],
)
def test_names_that_readers_interpret_differently_are_refused(name: str) -> None:
    check_name("a/data/0")
    check_name("a/folder/")
    with pytest.raises(ValueError):
        check_name(name)


def test_a_record_is_a_place_and_a_size() -> None:
    content = zipped({"a/x": b"123"})
    assert records_of(mapped(content)) == {"a/x": Record(content.index(b"123"), 3)}
