import io
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.datasets.dataset import ArrayRecord
from vaekit.domains.images.colors import from_bytes
from vaekit.domains.images.decode import decoded_bytes, decoded_file
from vaekit.domains.images.domain import ImageSchema
from vaekit.domains.images.preparation import (
    Preparation,
    cut,
    preparation_from,
    put,
    resized,
    short_side,
    square,
    whole,
)
from vaekit.domains.images.read import read_image
from vaekit.metrics.image.color import luma


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("folder", ["kodak", "odd_files", "photos"])
def test_decoded_is_what_read_image_gives(shared_data: Path, folder: Path) -> None:
    paths = [path for path in sorted((shared_data / "images" / folder).iterdir()) if path.suffix in (".png", ".jpg")]
    for path in paths[:6] if folder != "odd_files" else paths:
        image, found = read_image(path), decoded_file(path)
        assert isinstance(found, Image.Image)
        assert torch.equal(from_bytes(found.convert("RGB")), image.pixels)
        assert ("A" in found.getbands()) == (image.alpha is not None)
        if image.alpha is not None:
            opacity = np.asarray(found.getchannel("A"), np.float32) / 255
            torch.testing.assert_close(torch.from_numpy(opacity), image.alpha[0, 0])


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(values).save(tmp_path / "wide.png")
    found = decoded_file(tmp_path / "wide.png")
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose((found[..., 0] + 1) * 32767.5, values, atol=0.01)
    assert cut(found, Preparation(4, channels=1), 4, Random(0)).shape == (4, 4, 1)


def test_a_large_jpeg_is_decoded_at_a_fraction(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(noise(8, 8)).resize((1600, 800), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    whole, part = decoded_file(tmp_path / "a.jpg"), decoded_file(tmp_path / "a.jpg", 64)
    assert isinstance(whole, Image.Image) and isinstance(part, Image.Image)
    assert whole.size == (1600, 800) and part.size == (400, 200)
    squares = [cut(each, Preparation(64, crop="center"), 64, Random(0)).astype(float) for each in (whole, part)]
    assert np.abs(squares[0] - squares[1]).mean() < 1


@pytest.mark.parametrize("size", [8, 24, 60, 130])
def test_resizing_agrees_with_pillow(size: int) -> None:
    square = noise(60, 60) // 2 + 64  # in between, as Pillow cuts off what overshoots twice
    ours, theirs = resized(square, size), Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1
    floats = resized(square.astype(np.float32) / 127.5 - 1, size)
    assert np.abs((floats + 1) * 127.5 - np.asarray(theirs)).max() < 1.5


def test_crops_are_pieces_of_the_image() -> None:
    pixels = noise(20, 30)
    places = set()
    for seed in range(200):
        square = cut(Image.fromarray(pixels), Preparation(16, resize=(0,)), 0, Random(seed))
        found = [
            (top, left)
            for top in range(5)
            for left in range(15)
            if np.array_equal(pixels[top : top + 16, left : left + 16], square)
        ]
        places |= set(found)
        assert len(found) == 1
    assert len(places) > 60
    center = cut(Image.fromarray(pixels), Preparation(16, crop="center", resize=(0,)), 0, Random(0))
    np.testing.assert_array_equal(center, pixels[2:18, 7:23])


def test_busy_places_are_preferred() -> None:
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, 32:] = noise(16, 32)
    flat = {
        crop: sum(cut(Image.fromarray(pixels), Preparation(8, crop=crop), 16, Random(i)).max() == 0 for i in range(200))
        for crop in ("random", "busier")
    }
    assert flat["busier"] < 0.7 * flat["random"]


def test_short_sides_are_drawn() -> None:
    def drawn(*lengths: int) -> list[int]:
        random = Random(0)
        return [short_side(Preparation(64, resize=lengths), random) for _ in range(400)]

    assert set(drawn()) == {64} and set(drawn(100)) == {100}
    assert set(drawn(64, 100, 0)) == {0, 64, 100}
    between = drawn(64, 256)
    assert min(between) >= 64 and max(between) <= 256 and len(set(between)) > 80
    assert sum(side < 128 for side in between) == pytest.approx(200, abs=40)  # one octave of two


def test_see_through_images_are_put_on_the_background() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    image = Image.fromarray(pixels)
    blue = cut(image, Preparation(8, background="#0000ff"), 8, Random(0))
    assert blue[0, 0].tolist() == [255, 0, 0] and blue[0, 7].tolist() == [0, 0, 255]
    floats = pixels.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(
        cut(floats, Preparation(8, background="blue"), 8, Random(0)), blue / 127.5 - 1, atol=1e-6
    )
    kept = cut(image, Preparation(8, channels=4), 8, Random(0))
    np.testing.assert_array_equal(kept, pixels)
    smaller = cut(image, Preparation(5, channels=4), 5, Random(0))
    opaque = smaller[..., 3] > -0.9
    np.testing.assert_allclose(smaller[opaque][:, 0], 1, atol=1e-5)  # what is hidden does not shine through


def test_gray_is_the_luma_that_evaluation_takes() -> None:
    pixels = noise(8, 8)
    room = np.empty((8, 8, 1), np.float32)
    put(pixels, room)
    wanted = luma(from_bytes(Image.fromarray(pixels)))[0]
    torch.testing.assert_close(torch.from_numpy(room[..., 0]), wanted)
    colors = np.empty((8, 8, 3), np.float32)
    put(pixels[..., :1], colors)
    assert (colors == colors[..., :1]).all()
    four = np.empty((8, 8, 4), np.float32)
    put(cut(Image.fromarray(pixels[..., 0]), Preparation(8, channels=4), 8, Random(0)), four)
    assert (four[..., 3] == 1).all()


def test_images_of_every_ending_from_bytes() -> None:
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        file = io.BytesIO()
        Image.fromarray(noise(8, 8)).save(file, kind)
        found = decoded_bytes(file.getvalue(), "x")
        assert isinstance(found, Image.Image) and found.size == (8, 8)


def test_the_middle_is_kept_and_the_size_is_right() -> None:
    wide = torch.full((1, 3, 40, 120), -1.0)
    wide[..., 40:80] = 1.0
    made = square(wide, 20)
    assert made.shape == (1, 3, 20, 20)
    assert made[..., 2:-2].min() > 0.99
    assert made.abs().max() <= 1


def test_small_images_grow_and_fitting_ones_stay() -> None:
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.equal(square(image, 16), image)
    assert square(image[..., :3], 16).shape == (1, 3, 16, 16)
    assert square(torch.zeros(1, 3, 1, 500), 32).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whole_images_keep_their_sides(mode: str, channels: int) -> None:
    image = Image.new("L", (90, 30), 0)
    image.paste(255, (0, 0, 30, 30))
    square = whole(image.convert(mode), Preparation(64, channels=channels), 30)
    out = torch.empty(30, 30, channels).numpy()
    put(square, out)
    np.testing.assert_allclose(out[:, :8], 1, atol=0.02)
    np.testing.assert_allclose(out[:, 13:, :3], -1, atol=0.02)


def test_whole_images_of_the_size_are_unchanged() -> None:
    values = noise(16, 16)
    np.testing.assert_array_equal(whole(Image.fromarray(values), Preparation(16), 16), values)


def test_a_whole_image_becomes_a_square() -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 4:] = 255
    preparation = preparation_from({"size": 4, "channels": 1, "crop": "whole"})
    made = cut(Image.fromarray(wide), preparation, 4, Random(0))
    assert made.shape == (4, 4, 1)
    assert made[:, 0].max() < 64 < 192 < made[:, 3].min()
    assert ImageSchema(preparation).to_tensor([ArrayRecord("wide", wide[..., None], None)]).shape == (1, 1, 4, 4)
