"""Small tars that make tarfile loop, recurse, read all there is, or ask for more memory than there is."""

import io
import random
import tarfile
import time
from pathlib import Path

import pytest
from image_data import encoded, number_of, open_images, pixels_at, write_tar

from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.tars import members
from vaekit.domains.images.read import IMAGE_ENDINGS


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def extended(records: bytes, size: int | None = None) -> bytes:
    """What is told of the next member, as pax does."""
    block = records + bytes(-len(records) % 512)
    return header("x", len(records) if size is None else size, tarfile.XHDTYPE) + block


def record(key: str, value: str) -> bytes:
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return f"{length} {key}={value}\n".encode()


GOOD = header("1.png", len(encoded(1))) + encoded(1) + bytes(-len(encoded(1)) % 512)
TRICKS = {
    "goes back": header("2.png", -512),
    "goes far back": header("2.png", -(2**40)),
    "goes back by pax": extended(record("size", "-2048")) + header("2.png", 0),
    "a huge member": header("2.png", 2**70),
    "a member larger than its tar": header("2.png", 100_000) + bytes(512),
    "a huge name": header("x", 2**45, tarfile.GNUTYPE_LONGNAME),
    "a huge link": header("x", 2**45, tarfile.GNUTYPE_LONGLINK),
    "a huge extension": extended(b"", 2**45),
    "a huge global extension": header("x", 2**45, tarfile.XGLTYPE),
    "a name of less than nothing": header("x", -512, tarfile.GNUTYPE_LONGNAME) + bytes(100_000),
    "names of names": (header("x", 4, tarfile.GNUTYPE_LONGNAME) + b"a.png" + bytes(507)) * 600,
    "a length of many digits": extended(b"1" * 20_000 + b" a=b\n"),
    "sparse without end": header("2.png", 10, tarfile.GNUTYPE_SPARSE)[:482] + b"\1" + bytes(29),
}


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("before", [GOOD, b""], ids=["behind an image", "at once"])
def test_what_is_before_the_trick_is_used(tmp_path: Path, trick: str, before: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(before + TRICKS[trick] + GOOD)
    start = time.process_time()
    found, damage = members(tmp_path / "a.tar", IMAGE_ENDINGS)
    assert time.process_time() - start < 30
    assert damage and found[:1] == ([("1.png", 512, len(encoded(1)))] if before else [])
    assert all(size >= 0 and place + size <= (tmp_path / "a.tar").stat().st_size for _, place, size in found)


def test_the_rest_of_a_folder_is_used(tmp_path: Path) -> None:
    for name, trick in TRICKS.items():
        (tmp_path / f"{name}.tar").write_bytes(trick)
    write_tar(tmp_path / "good.tar", {"7.png": encoded(7)})
    skipped = SkipLog()
    train = open_images(tmp_path, skipped).train
    assert [number_of(pixels_at(train, item)) for item in range(len(train))] == [7]
    assert set(skipped.reasons) == {f"{name}.tar" for name in TRICKS}


def test_damaged_tars_are_listed_or_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("1.png", "b" * 150 + "é.png", "2.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
    sound, chance = buffer.getvalue(), random.Random(0)
    for _ in range(300):
        content = bytearray(sound)
        start = chance.choice([place for place in range(0, len(sound), 512) if content[place]])
        for _ in range(chance.randint(1, 3)):
            content[start + chance.choice((124, 125, 134, 156, chance.randrange(512)))] = chance.randrange(256)
        content[start + 148 : start + 156] = b" " * 8
        content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
        (tmp_path / "a.tar").write_bytes(content)
        assert all(place + size <= len(content) for _, place, size in members(tmp_path / "a.tar", IMAGE_ENDINGS)[0])
