"""Small image files that would keep a reader busy or fill the memory."""

import io
import re
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

import vaekit.domains.images.file_facts as file_facts
from vaekit.datasets.array_files import read_idx, read_npz
from vaekit.domains.images.decode import decoded_bytes, decoded_file
from vaekit.domains.images.jpeg_scans import MOST_SCANS, scans_of
from vaekit.domains.images.read import read_image
from vaekit.domains.images.size_check import size_check
from vaekit.errors import BadItem, NoTrainingData, TooLittleMemory
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

MEBI = 2**20


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(side: int, *extra: bytes, rows: int | None = None) -> bytes:
    """A PNG of one bit a pixel, all black; it need not have all of its rows."""
    content = zlib.compress((b"\0" + bytes(-(-side // 8))) * (side if rows is None else rows))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(scans: int, progressive: bool = True) -> bytes:
    """A JPEG whose last scan is repeated."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 10, 200)).save(file, "JPEG", progressive=progressive)
    content = file.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * (scans - content.count(b"\xff\xda")) + content[-2:]


def tiff(pages: int, following: Callable[[int], int]) -> bytes:
    """A TIFF of pages of one pixel; `following` gives the place of the next page."""
    content = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(pages):
        place = len(content)
        values = [
            (256, 3, 1),
            (257, 3, 1),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, place),
            (278, 3, 1),
            (279, 4, 1),
        ]
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in values)
        size = 2 + len(entries) + 4
        content += struct.pack("<H", len(values)) + entries
        content += struct.pack("<I", 0 if page == pages - 1 and not following(0) else following(place + size))
    return bytes(content)


def gif(frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + frame * frames + b"\x3b"


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("scans", [MOST_SCANS + 1, 5000])
def test_a_jpeg_of_many_scans_is_refused(tmp_path: Path, scans: int, progressive: bool) -> None:
    content = jpeg(scans, progressive)
    assert scans_of(content) == scans
    (tmp_path / "x.jpg").write_bytes(content)
    for read in (read_image, decoded_file, lambda path: decoded_bytes(path.read_bytes(), path.name)):
        with pytest.raises(BadItem, match=f"{scans:,} scans"):
            read(tmp_path / "x.jpg")


def test_a_jpeg_of_some_scans_and_one_with_scans_in_other_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(jpeg(MOST_SCANS))
    assert read_image(tmp_path / "x.jpg").pixels.shape == (1, 3, 64, 64)
    comment = b"\xff\xda" * 400
    content = jpeg(1, progressive=False)
    content = content[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + content[2:]
    assert scans_of(content) == 1
    (tmp_path / "y.jpg").write_bytes(content)
    assert read_image(tmp_path / "y.jpg").pixels.shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("many.tif", tiff(20_000, lambda place: place), "first of more than 1000 frames"),
        ("loop.tif", tiff(2, lambda _: 8), None),
        ("many.gif", gif(20_000), "first of 20000 frames"),
    ],
)
def test_many_frames_take_no_time(tmp_path: Path, name: str, content: bytes, note: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    started = time.process_time()
    image = read_image(tmp_path / name)
    assert time.process_time() - started < 3
    assert note is None or image.notes == (note,)


def test_frames_of_a_large_gif_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_facts, "COUNTED", 1000)
    (tmp_path / "x.gif").write_bytes(gif(200))
    assert read_image(tmp_path / "x.gif").notes == ("first of several frames",)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_chunks_that_unpack_to_much_are_refused_or_left_out(tmp_path: Path, kind: bytes) -> None:
    packed = zlib.compress(bytes(100 * MEBI))
    content = b"x\0\1\0\0\0" + packed if kind == b"iTXt" else b"x\0\0" + packed
    (tmp_path / "x.png").write_bytes(png(8, chunk(kind, content)))
    before = peak()
    with suppress(BadItem):
        read_image(tmp_path / "x.png")
    assert peak() - before < 50 * MEBI


def peak() -> int:
    """The largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("ending", [".png", ".bmp", ".ppm", ".tif", ".jpg", ".webp", ".gif"])
def test_a_size_beyond_the_budget_is_refused_by_the_header(tmp_path: Path, kl_vae: VAE, ending: str) -> None:
    """Most of the pixels are not even there."""
    path, side = tmp_path / f"x{ending}", 4000
    if ending == ".png":
        path.write_bytes(png(side, rows=1))
    else:
        Image.new("L", (side, side)).save(path)
        if ending not in (".webp", ".tif"):  # whose headers are at the end, or name the size of the rest
            path.write_bytes(path.read_bytes()[:2000])
    check = size_check(Engine(kl_vae, Plan(device="cpu", memory="8MiB")))
    before = peak()
    with pytest.raises(TooLittleMemory):
        read_image(path, check)
    assert peak() - before < 60 * MEBI


def test_a_size_within_the_budget_is_read(tmp_path: Path, kl_vae: VAE) -> None:
    (tmp_path / "x.png").write_bytes(png(64))
    engine = Engine(kl_vae, Plan(device="cpu", memory="100MiB"))
    assert read_image(tmp_path / "x.png", size_check(engine)).pixels.shape == (1, 3, 64, 64)


def test_a_vae_of_one_size_refuses_another_by_the_header(tmp_path: Path, burgess_vae: VAE) -> None:
    (tmp_path / "x.png").write_bytes(png(4000, rows=1))
    with pytest.raises(BadItem, match=re.escape("4000x4000")):
        read_image(tmp_path / "x.png", size_check(Engine(burgess_vae, Plan(device="cpu", memory="8MiB"))))


def test_an_npz_that_unpacks_to_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    """Its directory says so; the archive itself is tiny."""
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\1\0" + bytes(100))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 2**50)  # the size in 64 bits
    content[entry + 24 : entry + 28] = b"\xff" * 4
    content[entry + 30 : entry + 32] = struct.pack("<H", len(extra))
    name_end = entry + 46 + len("x.npy")
    content[name_end:name_end] = extra
    end = content.rindex(b"PK\x05\x06")
    size = struct.unpack("<I", content[end + 12 : end + 16])[0]
    content[end + 12 : end + 16] = struct.pack("<I", size + len(extra))
    path.write_bytes(content)
    with pytest.raises(NoTrainingData, match=f"{2**50:,} bytes"):
        read_npz(path, "")


def test_an_idx_file_that_announces_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(struct.pack(">HBB4I", 0, 8, 4, 2**31, 2**10, 2**10, 4))
    with pytest.raises(NoTrainingData, match=r"bytes"):
        read_idx(tmp_path / "x")
