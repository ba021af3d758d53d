"""Images as often as squares cover them."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from image_data import open_images, pixels_at, write_tar
from PIL import Image

from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.images import decode as decoding
from vaekit.domains.images.decode import sides_of
from vaekit.domains.images.preparation import Preparation, extent
from vaekit.domains.images.training_data import open_training_data


def test_large_images_count_more_where_that_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    preparation = Preparation(16, resize=(16, 32), held_out=0.0)
    assert len(open_training_data(tmp_path, preparation, 0).source) == 3
    by_area = open_training_data(tmp_path, replace(preparation, often="area"), 0)
    assert len(by_area.source) == 8 + 1 + 1, "32x64 in squares of 16, one small, and one that is replaced in its turn"
    assert by_area.source.batch(by_area.source.chosen * 0, 3).shape == (10, 3, 16, 16)  # type: ignore[attr-defined]


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
