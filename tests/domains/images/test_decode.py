"""The sides of images, from their headers."""

import io
from pathlib import Path

import pytest
from image_data import open_images, pixels_at, write_tar
from PIL import Image

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images import decode as decoding
from vaekit.domains.images.decode import sides_of
from vaekit.domains.images.preparation import extent


def stored(width: int, height: int, kind: str, orientation: int) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((width, height), 50).convert("RGB").save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kept", ["folder", "tar", "table"])
def test_sides_come_from_headers(tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP", "gif": "GIF"}
    named = {f"{turn}.{ending}": stored(300, 200, kind, turn) for ending, kind in kinds.items() for turn in (1, 6)}
    assert max(map(len, named.values())) > decoding.HEADER
    if kept == "folder":
        for name, content in named.items():
            (tmp_path / name).write_bytes(content)
    elif kept == "tar":
        write_tar(tmp_path / "a.tar", named)
    else:
        pa = pytest.importorskip("pyarrow")
        rows = pa.table({"image": pa.array(list(named.values()))})
        with pa.ipc.new_stream(tmp_path / "a.arrow", rows.schema) as writer:
            writer.write_table(rows)
    images = open_images(tmp_path, SkipLog()).train
    shown = [sorted(extent(pixels_at(images, item))) for item in range(len(named))]
    monkeypatch.setattr(decoding, "colors", None)  # nothing is decoded
    assert [sorted(sides_of(images.read(item))) for item in range(len(named))] == shown == [[200, 300]] * len(named)
