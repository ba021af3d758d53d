"""Settings in PNG files: written, read back, and absent or damaged in files of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from refusals import refuses

from vaekit.domains.images.png_metadata import embed_settings, parameters_text, png_text, read_settings, text_of
from vaekit.domains.images.read import read_image
from vaekit.domains.images.write import write_8_bit, write_image
from vaekit.errors import BadItem, NotFound

SETTINGS = {
    "prompt": "a cat, \N{CAT}\nin the rain",
    "negative": "dogs",
    "seed": 3,
    "item": 2,
    "generator_seed": 12345,
    "steps": 20,
    "guidance": 7.5,
    "size": [512, 768],
    "scheduler": "EulerDiscreteScheduler",
    "model": "my model: 2",
    "model_hash": "0123456789abcdef",
}
TEXT = """a cat, \N{CAT}
in the rain
Negative prompt: dogs
Steps: 20, Sampler: EulerDiscreteScheduler, CFG scale: 7.5, Seed: 12345, Size: 768x512, Model hash: 0123456789, \
Model: "my model: 2\""""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", torch.linspace(-1, 1, 3 * 4 * 6).view(1, 3, 4, 6))
    return tmp_path / "a.png"


def test_settings_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_8_bit(path, Image.new("RGB", (3, 2)), {"pnginfo": png_text(SETTINGS)})
    assert read_settings(path) == SETTINGS
    assert text_of(path)["parameters"] == TEXT == parameters_text(SETTINGS)


def test_settings_are_added_to_a_file(image: Path) -> None:
    before = read_image(image).pixels
    embed_settings(image, SETTINGS)
    assert read_settings(image) == SETTINGS
    assert torch.equal(read_image(image).pixels, before)
    Image.open(image).verify()  # the checksums of all chunks


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, extra: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.png"
    settings = {**SETTINGS, "prompt": "\0\udce9 \x07", "other": extra}
    write_8_bit(path, Image.new("RGB", (1, 1)), {"pnginfo": png_text(settings)})
    back = read_settings(path)
    assert back["steps"] == SETTINGS["steps"]
    assert back["other"].keys() == {key.encode("utf-8", "replace").decode() for key in extra} or "\ufffd" in str(back)
    assert text_of(path)["parameters"].isprintable() or "\n" in text_of(path)["parameters"]


def test_files_without_settings(image: Path, tmp_path: Path) -> None:
    with refuses(BadItem, image):
        read_settings(image)
    with refuses(NotFound, "none.png"):
        read_settings(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "."):
        with refuses(BadItem):
            read_settings(tmp_path / name)
    with refuses(BadItem, "text.png"):
        embed_settings(tmp_path / "text.png", SETTINGS)


@pytest.mark.parametrize("text", ["", "[]", "{", '"a"', "[" * 100_000])
def test_damaged_settings(tmp_path: Path, text: str) -> None:
    chunks = PngInfo()
    chunks.add_text("vaekit", text)
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png", pnginfo=chunks)
    with refuses(BadItem, "a.png"):
        read_settings(tmp_path / "a.png")
