"""Compress and decompress: every item comes back, whatever it is."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coded_images import SIDE, gray_images, write_image_vae, write_images
from PIL import Image
from small_tables import columns, rows, save_table_vae, write_table
from small_text import save_text_vae

from vaekit.codec.chain import chain_of
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import ArchiveMismatch, BadArchive, BadPlan, NoTrainingData
from vaekit.tasks.compress import compress
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import ModelOptions

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenModel:
    return open_model(ModelOptions(str(write_image_vae(tmp_path_factory.mktemp("vae") / "vae.safetensors"))))


PARTS = {
    "mixture": {"prior": {"kind": "mixture", "components": 3}},
    "vamp": {"prior": {"kind": "vamp", "components": 3}},
    "flow": {"prior": {"kind": "flow", "layers": 2, "hidden": 4}},
    "vq": {"posterior": {"kind": "vq", "codes": 5}},
    "gumbel": {"posterior": {"kind": "gumbel", "codes": 3}},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_other_latents(parts: dict[str, Any], tmp_path: Path) -> None:
    model = open_model(ModelOptions(str(write_image_vae(tmp_path / "vae.safetensors", **parts))))
    data = write_images(tmp_path / "data", gray_images(6))
    result = compress(model, data, tmp_path / "images.vk", SkipLog(), verify=True)
    assert result.verified and result.coded == 6
    decompress(model, tmp_path / "images.vk", tmp_path / "out")
    for path in data.iterdir():
        assert pixels(tmp_path / "out" / path.name) == pixels(path)


def test_one_image(model: OpenModel, tmp_path: Path) -> None:
    """A plain image is smaller without the VAE; another one states what its latents cost."""
    plain, other = tmp_path / "plain", tmp_path / "other"
    write_images(plain, np.full((1, SIDE, SIDE), 7, dtype=np.uint8))
    probable = model.engine.vae.likelihood(torch.zeros(1, 3, 1, 1)).sample(torch.Generator().manual_seed(0))
    write_images(other, ((probable[0].numpy() + 1) * 127.5).round().astype(np.uint8))
    results = [compress(model, each, each.with_suffix(".vk"), SkipLog(), verify=True) for each in (plain, other)]
    assert results[0].initial_bits == 0 and results[0].parts.chain < SIDE**2
    assert 0 < results[1].initial_bits < 8 * results[1].parts.chain
    for each in (plain, other):
        (path,) = decompress(model, each.with_suffix(".vk"), tmp_path / f"{each.name}-out")
        assert pixels(path) == pixels(each / "000.png")


def test_one_sentence(tmp_path: Path) -> None:
    save_text_vae(tmp_path / "vae.safetensors")
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")))
    (tmp_path / "line.txt").write_text("A dog runs.\n")
    result = compress(model, tmp_path / "line.txt", tmp_path / "line.vk", SkipLog(), verify=True)
    assert result.items == 1 and result.size < 600
    decompress(model, tmp_path / "line.vk", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "A dog runs.\n"


def test_verification_finds_other_items(model: OpenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain has an error that its own checksum does not show: the pixels were changed before."""
    data = write_images(tmp_path / "data", gray_images(3))
    monkeypatch.setattr("vaekit.tasks.compress.chain_of", lambda coding, x, batch: chain_of(coding, x.flip(0), batch))
    with pytest.raises(BadArchive, match="does not give"):
        compress(model, data, tmp_path / "images.vk", SkipLog(), verify=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def pixels(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image).tolist()


def test_images_come_back_with_their_names(model: OpenModel, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data" / "inner", gray_images(20)).parent
    result = compress(model, data, tmp_path / "images.vk", SkipLog())
    assert result.items == result.coded == 20 and result.values == 20 * SIDE**2
    assert result.size == (tmp_path / "images.vk").stat().st_size
    written = decompress(model, tmp_path / "images.vk", tmp_path / "out")
    assert len(written) == 20
    for path in (data / "inner").iterdir():
        assert pixels(tmp_path / "out" / "inner" / path.name) == pixels(path)


def test_items_that_the_vae_does_not_take_are_stored_whole(model: OpenModel, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", gray_images(3))
    gray = gray_images(1, seed=1)[0]
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(data / "large.jpg")
    Image.fromarray(np.stack([gray, gray, gray, gray], axis=2)).save(data / "transparent.png")
    Image.fromarray(gray).convert("P").save(data / "palette.png")
    Image.fromarray(gray.astype(np.uint16) * 200).save(data / "deep.png")
    Image.fromarray(gray).save(data / "turned.png", exif=exif(6))
    Image.fromarray(gray).save(data / "gray.bmp")
    result = compress(model, data, tmp_path / "images.vk", SkipLog())
    assert (result.items, result.coded) == (9, 4), "the bitmap has just the pixels"
    assert set(result.whole) == {"large.jpg", "transparent.png", "palette.png", "deep.png", "turned.png"}
    decompress(model, tmp_path / "images.vk", tmp_path / "out")
    for name in result.whole:
        assert (tmp_path / "out" / name).read_bytes() == (data / name).read_bytes()
    assert pixels(tmp_path / "out" / "gray.bmp.png") == gray.tolist()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def test_unreadable_items_are_named(model: OpenModel, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", gray_images(3))
    (data / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    result = compress(model, data, tmp_path / "images.vk", SkipLog())
    assert result.coded == 3 and "broken.png" in {*result.whole, *result.missing}
    assert len(decompress(model, tmp_path / "images.vk", tmp_path / "out")) == result.items


def test_another_vae_is_refused(model: OpenModel, tmp_path: Path) -> None:
    compress(model, write_images(tmp_path / "data", gray_images(2)), tmp_path / "images.vk", SkipLog())
    other = open_model(ModelOptions(str(write_image_vae(tmp_path / "other.safetensors", "normal"))))
    with pytest.raises(ArchiveMismatch, match="another VAE"):
        decompress(other, tmp_path / "images.vk", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_never_an_item(model: OpenModel, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", gray_images(40))
    compress(model, data, tmp_path / "images.vk", SkipLog())
    content = bytearray((tmp_path / "images.vk").read_bytes())
    for place in range(len(content) - 200, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 4
        (tmp_path / "damaged.vk").write_bytes(damaged)
        with pytest.raises(BadArchive):
            decompress(model, tmp_path / "damaged.vk", tmp_path / "out")
        for path in (tmp_path / "out").glob("*"):
            assert pixels(path) == pixels(data / path.name)


def test_nothing_to_compress(model: OpenModel, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(NoTrainingData):
        compress(model, tmp_path / "data", tmp_path / "images.vk", SkipLog())
    assert not (tmp_path / "images.vk").exists()


def test_a_likelihood_without_levels_is_refused(tmp_path: Path) -> None:
    bernoulli = open_model(ModelOptions(str(write_image_vae(tmp_path / "vae.safetensors", "bernoulli"))))
    with pytest.raises(BadPlan, match="256 levels"):
        compress(bernoulli, write_images(tmp_path / "data", gray_images(2)), tmp_path / "images.vk", SkipLog())
    assert not (tmp_path / "images.vk").exists()


LINES = (
    "A dog runs.",
    "It is late, is it?",
    "Two cats run, slowly.",
    "A  dog runs .",
    "É.",
    "Two dogs run, slowly.",
    "A",
)


@pytest.mark.parametrize("unit", ["words", "bytes"])
def test_lines_come_back(unit: str, tmp_path: Path) -> None:
    save_text_vae(tmp_path / "vae.safetensors", unit)
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")))
    lines = [*LINES * 40, "word " * 300]
    (tmp_path / "lines.txt").write_text("\n".join(lines), "utf-8")
    result = compress(model, tmp_path / "lines.txt", tmp_path / "lines.vk", SkipLog())
    assert result.items == len(lines)
    assert result.coded == (280 if unit == "bytes" else 240), "a line of unknown words alone is not worth it"
    assert decompress(model, tmp_path / "lines.vk", tmp_path / "out.txt") == [tmp_path / "out.txt"]
    assert (tmp_path / "out.txt").read_text("utf-8") == "".join(f"{line.strip()}\n" for line in lines)


def test_rows_come_back(tmp_path: Path) -> None:
    """With a column that the VAE does not know, missing cells, a category that it has not seen, and other spellings."""
    save_table_vae(tmp_path / "vae.safetensors", columns())
    model = open_model(ModelOptions(str(tmp_path / "vae.safetensors")))
    table = columns(120)
    table["note"] = [f"row {number}" for number in range(120)]
    table["size"][3], table["color"][4], table["color"][5], table["links"][6] = "", "", "violet", "007"
    table["size"][7], table["income"][8] = "1e99", "not a number"
    data = write_table(tmp_path / "rows.csv", table)
    result = compress(model, data, tmp_path / "rows.vk", SkipLog())
    assert result.items == 120 and 110 < result.coded <= 119
    assert decompress(model, tmp_path / "rows.vk", tmp_path / "out.csv") == [tmp_path / "out.csv"]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [dict(row.values) for row in rows(table)]
