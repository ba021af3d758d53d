"""Files of other programs, archives and media are named by their first bytes."""

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from refusals import refuses

from vaekit.errors import BadCheckpoint
from vaekit.formats.magic_numbers import MAGIC_NUMBERS, by_magic_number
from vaekit.formats.open import open_tensors


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("vae.pt"))
    return buffer.getvalue()


def image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


FILES = {
    "gzip": gzip.compress(b"x"),
    "bzip2": bz2.compress(b"x"),
    "xz": lzma.compress(b"x"),
    "tar": tarred(),
    "7-Zip": b"7z\xbc\xaf\x27\x1c\0\x04",
    "RAR": b"Rar!\x1a\x07\x01\0",
    "Zstandard": b"\x28\xb5\x2f\xfd\x04",
    "PNG": image("PNG"),
    "JPEG": image("JPEG"),
    "WebP": image("WEBP"),
    "TIFF": image("TIFF"),
    "AVIF": b"\0\0\0\x20ftypavif",
    "MP4": b"\0\0\0\x20ftypisom",
    "Matroska": b"\x1aE\xdf\xa3\x01",
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "HDF5": b"\x89HDF\r\n\x1a\n\0",
    "TensorRT": b"ftrt\0\0\0\0",
    "TensorFlow Lite": b"\x1c\0\0\0TFL3",
    "Parquet": b"PAR1\x15\0",
}


@pytest.mark.parametrize("name", FILES)
def test_the_kind_is_named_and_the_advice_is_not_to_download_it_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    path.write_bytes(FILES[name])
    with refuses(BadCheckpoint, name) as caught:
        open_tensors(path)
    assert caught.value.remedy
    assert "again" not in str(caught.value)


def test_weights_are_in_no_row_of_the_table() -> None:
    for start in (b"\x80\x02}q\0.", b"PK\x03\x04", b"GGUF", b"\x40\0\0\0\0\0\0\0{", b"", b"\0" * 300):
        assert by_magic_number(start) is None


def test_every_row_is_reached() -> None:
    for offset, magic, known in MAGIC_NUMBERS:
        assert by_magic_number(b"\x05" * offset + magic) == known
