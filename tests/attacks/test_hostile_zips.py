"""Zips that are no checkpoints, and zips that try tricks."""

import io
import pickle
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from vaekit.errors import BadCheckpoint
from vaekit.formats.open import open_tensors
from vaekit.formats.torch_files import open_torch_file
from vaekit.identification.identify import identify


def zip_bytes(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ZIPS: dict[str, bytes] = {
    "empty": zip_bytes({}),
    "of documents": zip_bytes({"word/document.xml": b"<w/>"}),
    "without data": zip_bytes({"archive/data.pkl": pickle.dumps({"x": 1}, 2)}),
    "with a broken pickle": zip_bytes({"archive/data.pkl": b"\x80\x02garbage", "archive/version": b"3"}),
    "with an empty pickle": zip_bytes({"archive/data.pkl": b"", "archive/version": b"3"}),
    "a bomb": zip_bytes({"archive/data.pkl": b"\0" * 10**7, "archive/version": b"3"}, zipfile.ZIP_DEFLATED),
    "of climbing names": zip_bytes({"../../data.pkl": b"\x80\x02}.", "../version": b"3"}),
    "of many entries": zip_bytes({f"archive/data/{i}": b"" for i in range(3000)}),
    "with an impossible count": zip_bytes({"archive/data.pkl": b"x"})[:-14] + b"\xff\xff\xff\xff" + b"\xff" * 10,
    "with a start alone": b"PK\x03\x04",
    "of zeros": b"PK\x03\x04" + b"\0" * 1000,
    "TorchScript": zip_bytes(
        {"archive/constants.pkl": b"\x80\x02).", "archive/data.pkl": b"\x80\x02}.", "archive/version": b"3"}
    ),
}


PICKLE = b"\x80\x02}X\x01\0\0\0xNs."


def changed(pattern: bytes, other: bytes, entries: dict[str, bytes] | None = None) -> bytes:
    """A sound zip with some of its bytes replaced, which must be there."""
    content = zip_bytes(entries or {"a/data.pkl": PICKLE, "a/data/0": bytes(16)})
    assert pattern in content
    assert len(pattern) == len(other)
    return content.replace(pattern, other)


def with_attributes(mode: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("a/data.pkl")
        link.external_attr = mode << 16
        archive.writestr(link, PICKLE)
    return buffer.getvalue()


def directory_alone(count: int) -> bytes:
    """A zip of nothing but a directory with so many records, all of them the same bytes."""
    name = b"a/data.pkl"
    local = struct.pack("<4s5HIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    entry = struct.pack("<4s6HIII5HII", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    at = len(local) + count * len(entry)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, count * len(entry), len(local))
    return local + count * entry + wide + struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1) + end


def overlapping() -> bytes:
    """Two records of which one lies in the other."""
    inner = zip_bytes({"a/data/1": bytes(64)})[: 30 + 8 + 64]
    content = bytearray(zip_bytes({"a/data.pkl": PICKLE, "a/data/0": inner, "a/data/1": bytes(64)}))
    at = content.rfind(b"PK\x01\x02")
    content[at + 42 : at + 46] = struct.pack("<I", content.index(inner))
    return bytes(content)


TRICKS = {
    "a name that climbs": zip_bytes({"a/data.pkl": PICKLE, "a/../../x": b""}),
    "a name from the root": zip_bytes({"a/data.pkl": PICKLE, "/etc/x": b""}),
    "a name on a drive": zip_bytes({"a/data.pkl": PICKLE, "C:/x": b""}),
    "a name with a backslash": changed(b"a/data/0", b"a\\data\\0"),
    "a name with a NUL": changed(b"a/data/0", b"a/data\x000"),
    "a name with a control character": changed(b"a/data/0", b"a/data\x1b0"),
    "a name with an empty step": changed(b"a/data/0", b"a//ata/0"),
    "two checkpoints": zip_bytes({"a/data.pkl": PICKLE, "b/data.pkl": PICKLE}),
    "a checkpoint in a folder of a folder": zip_bytes({"a/b/data.pkl": PICKLE}),
    "a checkpoint in no folder": zip_bytes({"data.pkl": PICKLE}),
    "another name in the directory": zip_bytes({"a/data.pkl": PICKLE})[::-1].replace(b"lkp.atad/a", b"lkp.bbbb/a", 1)[
        ::-1
    ],
    "a link": with_attributes(stat.S_IFLNK | 0o777),
    "a device": with_attributes(stat.S_IFCHR | 0o777),
    "an encrypted record": changed(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
    "a record packed in its local header alone": changed(b"PK\x03\x04\x14\0\0\0\0\0", b"PK\x03\x04\x14\0\0\0\x08\0"),
    "something after the end": zip_bytes({"a/data.pkl": PICKLE}) + b"\0",
    "something before the directory's end": changed(b"PK\x05\x06", b"PK\x05\x07"),
    "multi-part": changed(b"PK\x05\x06\0\0", b"PK\x05\x06\x01\0"),
    "fewer records than told": changed(b"PK\x05\x06\0\0\0\0\x02\0\x02\0", b"PK\x05\x06\0\0\0\0\x03\0\x03\0"),
    "more records than told": changed(b"PK\x05\x06\0\0\0\0\x02\0\x02\0", b"PK\x05\x06\0\0\0\0\x01\0\x01\0"),
    "two counts": changed(b"PK\x05\x06\0\0\0\0\x02\0\x02\0", b"PK\x05\x06\0\0\0\0\x01\0\x02\0"),
    "zip64 without its end": changed(b"PK\x05\x06\0\0\0\0\x02\0\x02\0", b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff"),
    "a record of one name 1000 times": directory_alone(1000),
    "a directory of 100,001 records": directory_alone(100_001),
    "overlapping records": overlapping(),
}


def test_the_zip_without_a_trick(tmp_path: Path) -> None:
    for entries in ({"a/data.pkl": PICKLE, "a/data/0": bytes(16)}, {"r\u00e9sum\u00e9 10:20/data.pkl": PICKLE}):
        (tmp_path / "x.pt").write_bytes(zip_bytes(entries))
        assert open_torch_file(tmp_path / "x.pt").content == {"x": None}
    (tmp_path / "x.pt").write_bytes(with_attributes(stat.S_IFREG | 0o600))
    assert open_torch_file(tmp_path / "x.pt").content == {"x": None}


@pytest.mark.parametrize("name", TRICKS)
def test_a_zip_that_tries_a_trick(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(TRICKS[name])
    with pytest.raises(BadCheckpoint) as caught:
        open_tensors(tmp_path / "x.pt")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packed_bomb_stays_packed(tmp_path: Path, method: int) -> None:
    (tmp_path / "x.pt").write_bytes(zip_bytes({"a/data.pkl": PICKLE, "a/data/0": bytes(10**7)}, method))
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")


def test_a_zip_with_sizes_of_64_bits(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a/data.pkl", "w", force_zip64=True) as record:
        record.write(PICKLE)
    content = bytearray(buffer.getvalue())
    at = content.index(b"PK\x01\x02")
    extra = struct.pack("<HHQQ", 1, 16, len(PICKLE), len(PICKLE))
    content[at + 20 : at + 28] = b"\xff" * 8
    content[at + 30 : at + 32] = struct.pack("<H", len(extra))
    content[at + 46 + 10 : at + 46 + 10] = extra
    end = content.index(b"PK\x05\x06")
    content[end + 12 : end + 16] = struct.pack("<I", end - at)
    (tmp_path / "x.pt").write_bytes(content)
    assert open_torch_file(tmp_path / "x.pt").content == {"x": None}
    content[at + 60 : at + 68] = struct.pack("<Q", 2**63)
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(BadCheckpoint):
        open_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_that_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.pt").write_bytes(ZIPS[name])
    with pytest.raises(BadCheckpoint) as caught:
        identify(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
