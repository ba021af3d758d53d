"""Files of the first version of the format are read, bit by bit; see golden/README.md."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaekit.codec.archive import read_archive
from vaekit.codec.chain import BITS_BACK
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import ModelOptions

FOLDER = Path(__file__).parent / "golden"
IMAGES = ("gaussian", "subscale", "mixture", "vamp", "flow", "codes", "choices")
LARGEST = 200_000
"""Bytes of the folder."""


def opened(name: str) -> OpenModel:
    return open_model(ModelOptions(str(FOLDER / f"{name}.safetensors")))


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, tmp_path: Path) -> None:
    written = sorted(decompress(opened(name), FOLDER / f"{name}.vk", tmp_path))
    expected = np.load(FOLDER / "images.npy")
    assert [path.name for path in written] == [f"{number:03}.png" for number in range(len(expected))]
    for path, pixels in zip(written, expected, strict=True):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), pixels)


def test_sentences(tmp_path: Path) -> None:
    decompress(opened("lines"), FOLDER / "lines.vk", tmp_path / "lines.txt")
    assert (tmp_path / "lines.txt").read_bytes() == (FOLDER / "lines.txt").read_bytes()


def test_rows(tmp_path: Path) -> None:
    """The columns that the VAE does not know are the last ones."""
    decompress(opened("rows"), FOLDER / "rows.vk", tmp_path / "rows.csv")
    tables = []
    for path in (tmp_path / "rows.csv", FOLDER / "rows.csv"):
        with path.open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert tables[0] == tables[1]


def test_the_vaes_code_them() -> None:
    files = sorted(FOLDER.glob("*.vk"))
    assert len(files) == len(IMAGES) + 2
    for path in files:
        (group,) = read_archive(path)[1]
        assert group.chain[0] == BITS_BACK


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < LARGEST
