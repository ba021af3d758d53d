"""Pictures as often as squares cover them."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from vaekit.domains.images.preparation import Preparation
from vaekit.domains.images.training_data import open_data


def test_large_pictures_count_more_where_that_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    preparation = Preparation(16, resize=(16, 32), held_out=0.0)
    assert len(open_data(tmp_path, preparation, 0).source) == 3
    by_area = open_data(tmp_path, replace(preparation, often="area"), 0)
    assert len(by_area.source) == 8 + 1 + 1, "32x64 in squares of 16, one small, and one that is replaced in its turn"
    assert by_area.source.batch(by_area.source.chosen * 0, 3).shape == (10, 3, 16, 16)  # type: ignore[attr-defined]
