"""Images compressed with losses, one file each: what comes back, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from family_examples import EXAMPLES
from PIL import Image

from vaekit.checkpoints.save import save
from vaekit.codec.image_file import HEADER, read_image_file
from vaekit.errors import ArchiveMismatch, BadArchive, BadPlan, CannotWrite, NotFound
from vaekit.families import assemble, family_of
from vaekit.tasks.compress_images import Codec, Rate, compress_images, decompress_images
from vaekit.tasks.decompress import decompress
from vaekit.tasks.model import open_model
from vaekit.tasks.options import ModelOptions
from vaekit.training.init_transform import init_transform

pytest.importorskip("constriction")


def codec_at(path: Path, seed: int) -> Codec:
    """A codec that is a linear transform, in a file."""
    torch.manual_seed(seed)
    config = replace(EXAMPLES["hyperprior"], slices=(24, 72))  # type: ignore[type-var]
    vae = assemble(family_of("hyperprior"), config)
    smooth = torch.nn.functional.interpolate(torch.rand(64, 3, 16, 16) * 2 - 1, size=64, mode="bicubic")
    init_transform(vae.encoder, vae.decoder, vae.to_prior, smooth.clamp(-1, 1))  # type: ignore[arg-type]
    save(vae, path)
    codec = Codec.of(open_model(ModelOptions(str(path))))
    assert codec is not None
    return codec


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codec") / "vae.safetensors"


@pytest.fixture(scope="module")
def codec(file: Path) -> Codec:
    return codec_at(file, 0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A smooth image of an odd size."""
    rows, columns = np.mgrid[:41, :53]
    colors = np.stack([rows * 5, columns * 4, 120 + 60 * np.sin(rows / 6) * np.cos(columns / 9)], axis=2)
    Image.fromarray(colors.clip(0, 255).astype(np.uint8)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def test_a_file_gives_the_same_image_in_another_session(codec: Codec, file: Path, image: Path, tmp_path: Path) -> None:
    (result,) = compress_images(codec, image, tmp_path / "image.vk", Rate(60.0), verify=True).results
    assert (result.width, result.height, result.size) == (53, 41, (tmp_path / "image.vk").stat().st_size)
    assert result.bits_per_pixel == 8 * result.size / (53 * 41)
    other = Codec.of(open_model(ModelOptions(str(file))))
    assert other is not None
    (restored,) = decompress_images(other, tmp_path / "image.vk", tmp_path / "out.png").results
    with Image.open(restored.output) as back, Image.open(image) as original:
        assert back.size == (53, 41)
        error = np.square(np.asarray(back, float) - np.asarray(original, float)).mean()
    assert abs(10 * np.log10(255**2 / error) - result.psnr) < 0.1


def test_better_qualities_take_more_bytes_and_lose_less(codec: Codec, image: Path, tmp_path: Path) -> None:
    results = [
        compress_images(codec, image, tmp_path / "image.vk", Rate(quality)).results[0] for quality in (0.0, 50.0, 100.0)
    ]
    sizes, losses = [each.size for each in results], [each.psnr for each in results]
    assert sizes == sorted(sizes)
    assert losses == sorted(losses)
    assert sizes[0] < sizes[2] / 2


def test_a_number_of_bytes_is_nearly_used_and_not_exceeded(codec: Codec, image: Path, tmp_path: Path) -> None:
    (least,) = compress_images(codec, image, tmp_path / "image.vk", Rate(0.0)).results
    (most,) = compress_images(codec, image, tmp_path / "image.vk", Rate(100.0)).results
    wanted = (least.size + most.size) // 2
    (result,) = compress_images(codec, image, tmp_path / "image.vk", Rate(bytes=wanted)).results
    assert 0.93 * wanted < result.size <= wanted
    batch = compress_images(codec, image, tmp_path / "image.vk", Rate(bytes=least.size - 1))
    assert "lowest quality" in batch.failures[0].error
    assert not batch.results


def test_a_folder_becomes_a_folder_and_bad_images_are_named(codec: Codec, image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(image.read_bytes())
    (folder / "b.png").write_bytes(image.read_bytes()[:200])
    Image.new("L", (30, 20), 77).save(folder / "gray.png")
    Image.new("RGBA", (30, 20), (7, 77, 200, 100)).save(folder / "soft.png")
    batch = compress_images(codec, folder, tmp_path / "out", Rate())
    assert [each.output.name for each in batch.results] == ["a.vk", "gray.vk", "soft.vk"]
    assert [Path(each.path).name for each in batch.failures] == ["b.png"]
    assert batch.results[2].notes == ("transparency dropped",)
    (tmp_path / "out" / "notes.txt").write_text("not an image")
    restored = decompress_images(codec, tmp_path / "out", tmp_path / "back")
    assert [each.output.name for each in restored.results] == ["a.png", "gray.png", "soft.png"]


def test_every_damage_is_an_error(codec: Codec, image: Path, tmp_path: Path) -> None:
    path = tmp_path / "image.vk"
    compress_images(codec, image, path, Rate(20.0))
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 3):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(BadArchive):
            read_image_file(path)
    for end in (0, 3, HEADER.size - 1, HEADER.size, len(content) - 4, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(BadArchive):
            read_image_file(path)
    path.write_bytes(content + bytes(4))
    assert "checksum" in decompress_images(codec, path, tmp_path / "out.png").failures[0].error
    assert not (tmp_path / "out.png").exists()


def test_another_vae_is_refused(codec: Codec, image: Path, tmp_path: Path) -> None:
    compress_images(codec, image, tmp_path / "image.vk", Rate(20.0))
    other = codec_at(tmp_path / "other.safetensors", 1)
    assert "another VAE" in decompress_images(other, tmp_path / "image.vk", tmp_path / "out.png").failures[0].error
    with pytest.raises(ArchiveMismatch):
        decompress(other.model, tmp_path / "image.vk", tmp_path / "out")


def test_what_makes_no_sense_is_refused(codec: Codec, image: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPlan):
        compress_images(codec, image, tmp_path / "x.vk", Rate(101.0))
    with pytest.raises(NotFound):
        compress_images(codec, tmp_path / "nothing.png", tmp_path / "x.vk", Rate())
    with pytest.raises(CannotWrite):
        compress_images(codec, image, image, Rate())
    with pytest.raises(NotFound):
        decompress_images(codec, tmp_path / "nothing", tmp_path / "out")


def test_other_vaes_are_no_codecs() -> None:
    assert Codec.of(open_model(ModelOptions("builtin"))) is None
