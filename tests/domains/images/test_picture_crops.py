"""Folders of pictures to train on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.domains.images.picture_crops import PictureCrops, open_pictures
from vaekit.errors import NotFound


def test_the_same_seed_gives_the_same_crops() -> None:
    rng = np.random.default_rng(0)
    source = PictureCrops([rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)], 16, 3)
    items = torch.tensor([0, 1, 0])
    assert len(source) == 10, "as many as cover 40x60"
    batch = source.batch(items, 7)
    assert batch.shape == (3, 3, 16, 16) and -1 <= batch.min() < -0.9 < 0.9 < batch.max() <= 1
    assert torch.equal(batch, source.batch(items, 7)) and not torch.equal(batch, source.batch(items, 8))
    assert not torch.equal(batch[0], batch[2])
    assert PictureCrops(source.versions, 16, 1).batch(items, 7).shape == (3, 1, 16, 16)


def test_what_is_kept_aside_is_never_trained_on(tmp_path: Path) -> None:
    for number in range(40):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    found = open_pictures(tmp_path, 32, 3, 0)
    levels = {round(float((pixel + 1) * 127.5)) for pixel in found.held_out[:, 0, 0, 0]}
    trained = {int(pixels[0, 0, 0]) for pixels in found.source.versions}  # type: ignore[attr-defined]
    assert len(levels) == 2 and len(trained) == 38 and not levels & trained
    assert found.words["held_out"] == sorted(f"{level}.png" for level in levels)
    assert open_pictures(tmp_path, 32, 3, 1).words["held_out"] != found.words["held_out"]


def test_transparent_pictures_lie_on_white(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / f"{number}.png")
    assert open_pictures(tmp_path, 32, 3, 0).held_out.min() == 1


def test_small_and_broken_ones_are_told(tmp_path: Path) -> None:
    for number, side in enumerate((32, 40, 31)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"nothing")
    said: list[str] = []
    assert open_pictures(tmp_path, 32, 3, 0, said.append).words["pictures"] == 1
    assert "3.png" in said[0] and "1 pictures that are smaller" in said[1]
    with pytest.raises(NotFound, match="1 pictures that can be used, of 4"):
        open_pictures(tmp_path, 36, 3, 0)
