"""Pixels, transparency, orientation and EXIF of good images come out as they were meant."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from handmade_images import chunk, half_transparent, in_8_bits, levels, png, scene, some
from PIL import Image, ImageFile, features
from refusals import refuses

from vaekit.domains.images.decode import decoded_file
from vaekit.domains.images.read import TURNS, LoadedImage, find_images, for_vae, read_image
from vaekit.errors import BadItem, NotFound
from vaekit.geometry import Geometry

Saved = Callable[..., Path]

# Plain images


PLAIN = [(mode, ending) for mode in ("RGB", "L", "1", "P") for ending in (".png", ".tif", ".bmp", ".gif")]


# GIF has a palette, and colors would be reduced to it on saving.
@pytest.mark.parametrize(("mode", "ending"), [plain for plain in PLAIN if plain != ("RGB", ".gif")])
def test_lossless_files_come_back_level_for_level(saved: Saved, mode: str, ending: str) -> None:
    path = saved(scene(mode), ending)
    image = read_image(path)
    assert (image.height, image.width) == (5, 7)
    assert image.pixels.shape == (1, 3, 5, 7)
    assert image.pixels.dtype == torch.float32
    assert image.pixels.is_contiguous()
    assert (image.alpha, image.notes, image.icc, image.exif) == (None, (), False, None)
    with Image.open(path) as pil:
        np.testing.assert_array_equal(levels(image), in_8_bits(pil))


def test_black_is_minus_one_and_white_is_one(saved: Saved) -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    assert read_image(saved(image)).pixels[0, 0].tolist() == [[-1.0, 1.0]]


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    scene().save(path, format="PNG")
    np.testing.assert_array_equal(levels(read_image(path)), in_8_bits(scene()))


@pytest.mark.parametrize("ending", [".webp", ".avif", ".jpg", ".jp2"])
def test_lossy_formats_are_read(saved: Saved, ending: str) -> None:
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    smooth = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    image = read_image(saved(smooth, ending, quality=95) if ending != ".jp2" else saved(smooth, ending))
    assert np.abs(levels(image) - in_8_bits(smooth)).max() <= 6


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "CMYK"])
def test_other_color_modes(saved: Saved, mode: str) -> None:
    pil = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    image = read_image(saved(pil.convert(mode), ".tif"))
    assert np.abs(levels(image) - in_8_bits(pil)).max() <= 4


def test_adobe_cmyk_jpeg_is_not_inverted(saved: Saved) -> None:
    pil = Image.new("RGB", (16, 16), (250, 240, 10))
    image = read_image(saved(pil.convert("CMYK"), ".jpg", quality=100))
    assert np.abs(levels(image) - (250, 240, 10)).max() <= 4
    assert "CMYK" in image.notes[0]


def test_dots_per_inch(saved: Saved) -> None:
    assert read_image(saved(scene(), ".tif", dpi=(300, 150))).dpi == (300, 150)
    assert read_image(saved(scene(), ".tif")).dpi is None


# Orientation and EXIF


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright(saved: Saved, orientation: int, ending: str) -> None:
    stored = scene()
    upright = stored.transpose(TURNS[orientation]) if orientation > 1 else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(saved(stored, ending, exif=exif, lossless=True, dpi=(300, 150)))
    np.testing.assert_array_equal(levels(image), in_8_bits(upright))
    assert image.notes == ((f"turned upright (EXIF orientation {orientation})",) if orientation > 1 else ())
    assert image.exif is None
    if ending == ".tif":
        assert image.dpi == ((150, 300) if orientation >= 5 else (300, 150))


def test_alpha_turns_with_the_colors(saved: Saved) -> None:
    stored = scene("RGBA")
    stored.putalpha(Image.linear_gradient("L").resize(stored.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = read_image(saved(stored, exif=exif)).alpha
    expected = np.asarray(stored.getchannel("A").transpose(Image.Transpose.ROTATE_270)) / 255
    np.testing.assert_allclose(some(alpha)[0, 0], expected, atol=1e-6)


def test_exif_keeps_the_scene_and_drops_the_old_file(saved: Saved) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    exif[0x010F] = "Camera works"
    exif[0x0100] = 7
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05", 0x927C: b"maker", 0xA002: 7}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    kept = Image.Exif()
    kept.load(read_image(saved(scene(), ".jpg", exif=exif)).exif or b"")
    assert kept[0x010F] == "Camera works"
    assert kept.get_ifd(0x8769) == {0x9003: "2024:01:02 03:04:05"}
    assert kept.get_ifd(0x8825)[2] == (52.0, 30.0, 0.0)
    assert 0x0112 not in kept and 0x0100 not in kept


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" * 9]
)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_broken_exif_is_not_fatal(saved: Saved, exif: bytes, ending: str) -> None:
    assert read_image(saved(scene(), ending, exif=exif)).exif is None


def test_overlong_exif_is_left_out(saved: Saved) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    image = read_image(saved(scene(), ".png", exif=exif))
    assert image.exif is None
    assert image.notes == ("EXIF data left out: too long",)


# Transparency


@pytest.mark.parametrize(("mode", "ending"), [("RGBA", ".png"), ("LA", ".png"), ("RGBA", ".webp"), ("PA", ".tif")])
def test_alpha_stands_beside_untouched_colors(saved: Saved, mode: str, ending: str) -> None:
    colors = scene("L" if mode == "LA" else "P" if mode == "PA" else "RGB")
    pil = colors.copy()
    pil.putalpha(half_transparent())
    assert pil.mode == mode
    image = read_image(saved(pil, ending, lossless=True, exact=True))
    np.testing.assert_array_equal(levels(image), in_8_bits(colors))
    np.testing.assert_allclose(some(image.alpha)[0, 0], np.asarray(half_transparent()) / 255, atol=1e-6)
    assert some(image.alpha).shape == (1, 1, 5, 7)


def test_an_opaque_alpha_is_none(saved: Saved) -> None:
    assert read_image(saved(scene("RGBA"))).alpha is None


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255, 7])])
def test_transparent_palette(saved: Saved, transparency: int | bytes) -> None:
    pil = Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8)).convert("P")
    pil.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image = read_image(saved(pil, transparency=transparency))
    expected = [255, 255, 255, 0] if transparency == 3 else [0, 128, 255, 7]
    np.testing.assert_allclose(some(image.alpha)[0, 0, 0] * 255, expected, atol=1e-4)
    np.testing.assert_array_equal(levels(image)[0, 3], (100, 110, 120))


@pytest.mark.parametrize(("mode", "transparency"), [("RGB", (1, 2, 3)), ("L", 9)])
def test_one_transparent_color(saved: Saved, mode: str, transparency: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), transparency)
    image.putpixel((1, 0), (200, 0, 0) if mode == "RGB" else 200)
    assert some(read_image(saved(image, transparency=transparency)).alpha)[0, 0].tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("depth", "color", "row", "transparent"),
    [
        (2, 0, bytes([0b01_10_00_00]), struct.pack(">H", 1)),
        (4, 0, bytes([0x5A]), struct.pack(">H", 5)),
        (16, 0, struct.pack(">HH", 1000, 2000), struct.pack(">H", 1000)),
        (16, 2, struct.pack(">6H", 1000, 2000, 3000, 60000, 0, 0), struct.pack(">3H", 1000, 2000, 3000)),
    ],
)
def test_one_transparent_color_at_other_depths(
    tmp_path: Path, depth: int, color: int, row: bytes, transparent: bytes
) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png(2, 1, depth, color, b"\0" + row, chunk(b"tRNS", transparent)))
    assert some(read_image(path).alpha)[0, 0].tolist() == [[0.0, 1.0]]


# More than 8 bits

DEEP = np.array([[0, 1, 255, 256], [1000, 32768, 65534, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
def test_16_bit_gray_keeps_every_value(saved: Saved, ending: str) -> None:
    image = read_image(saved(Image.fromarray(DEEP), ending))
    np.testing.assert_allclose(image.pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)
    assert image.notes == ()


def test_16_bit_gray_in_the_other_byte_order(saved: Saved) -> None:
    image = Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes())
    np.testing.assert_allclose(read_image(saved(image, ".tif")).pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)


def test_32_bit_whole_numbers_count_to_65535(saved: Saved) -> None:
    image = Image.fromarray(DEEP.astype(np.int32))
    np.testing.assert_allclose(read_image(saved(image, ".tif")).pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)


def test_whole_numbers_beyond_are_stretched(saved: Saved) -> None:
    image = read_image(saved(Image.fromarray(np.array([[-100, 0, 100]], dtype=np.int32)), ".tif"))
    assert image.pixels[0, 0].tolist() == [[-1.0, 0.0, 1.0]]
    assert image.notes == ("gray values from -100 to 100 stretched from black to white",)


def test_floats_count_from_0_to_1(saved: Saved) -> None:
    image = read_image(saved(Image.fromarray(np.array([[0.25, 0.5, 0.75]], dtype=np.float32)), ".tif"))
    assert image.pixels[0, 0].tolist() == [[-0.5, 0.0, 0.5]]
    assert image.notes == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 2, 4], [-1, 0, 1]),
        ([-3e38, 0, 3e38], [-1, 0, 1]),
        ([7, 7, 7], [-1, -1, -1]),
        ([np.nan, 0.5, np.inf], [0, 0, 0]),
        ([np.nan, 2, 4], [-1, -1, 1]),
        ([np.nan, np.nan, -np.inf], [-1, -1, -1]),
    ],
)
def test_other_floats_are_stretched_and_noted(saved: Saved, values: list[float], expected: list[float]) -> None:
    image = read_image(saved(Image.fromarray(np.array([values], dtype=np.float32)), ".tif"))
    assert image.pixels[0, 0].tolist() == [expected]
    assert image.notes


def test_16_bit_color_is_read_with_8_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 0x1234, 0x5678, 0x9ABC, 0x8000)))
    image = read_image(path)
    assert levels(image)[0, 0].tolist() == [0x12, 0x56, 0x9A]
    assert some(image.alpha).item() == pytest.approx(0x80 / 255)
    assert image.notes == ("16-bit, read with 8 bits",)


# Several frames


@pytest.mark.parametrize("ending", [".gif", ".webp", ".tif", ".png"])
def test_the_first_of_several_frames(saved: Saved, ending: str) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "green", "blue")]
    path = saved(frames[0], ending, save_all=True, append_images=frames[1:], lossless=True)
    image = read_image(path)
    assert levels(image)[0, 0].tolist() == [255, 0, 0]
    assert image.notes == ("first of 3 frames",)


# Finding


def test_folders_are_expanded_and_files_kept(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/er/c.webp", "notes.txt", ".hidden.png", "d.png.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    inside = [tmp_path / name for name in ("a.JPG", "b.png", "deep/er/c.webp")]
    assert find_images([tmp_path]) == inside
    assert find_images([tmp_path / "notes.txt", tmp_path]) == [tmp_path / "notes.txt", *inside]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        find_images([tmp_path])
    with refuses(NotFound, "nowhere.png"):
        find_images([tmp_path / "nowhere.png"])
    with pytest.raises(NotFound):
        find_images([tmp_path / ("x" * 300)])


# Odd files of other people


def test_odd_files(shared_data: Path) -> None:
    folder = shared_data / "images" / "odd_files"
    images = {path.name: read_image(path) for path in find_images([folder])}
    assert len(images) >= 9
    for image in images.values():
        assert image.pixels.shape == (1, 3, image.height, image.width)
        assert -1 <= image.pixels.min() < image.pixels.max() <= 1
    assert {name for name, image in images.items() if image.alpha is not None} >= {"children-alpha.png"}
    assert "Dot Gain 15%" in images["wolf_gray.jpg"].notes[0]
    with pytest.raises(BadItem):
        read_image(folder / "LICENSE")


@pytest.mark.parametrize("channels", [2, 5, 12])
def test_vaes_of_channels_that_no_image_file_has(channels: int) -> None:
    pixels = LoadedImage(torch.zeros(1, 3, 8, 8))
    with refuses(BadItem, str(channels), "1, 3, 4", "vaekit.Engine"):
        for_vae(pixels, Geometry(channels, 4, (8, 8)))
    for known in (1, 3, 4):
        assert for_vae(pixels, Geometry(known, 4, (8, 8)))[0].shape[1] == known


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_images_beyond_the_free_memory_are_refused_from_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path, side = tmp_path / "x", 2100
    Image.new("1", (side, side)).save(path, form)
    monkeypatch.setattr(ImageFile.ImageFile, "load", no_pixels)
    monkeypatch.setattr("vaekit.domains.images.read.free_memory", lambda _: side * side)
    with refuses(BadItem, "2,100 x 2,100", "101 MiB", "4 MiB"):
        read_image(path)
    with refuses(BadItem, "2,100 x 2,100", "50 MiB"):
        decoded_file(path)


@pytest.mark.parametrize("side", [60_000, 2**16])
def test_images_beyond_any_size_are_refused_from_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x" * 40))
    monkeypatch.setattr(ImageFile.ImageFile, "load", no_pixels)
    for read in (read_image, decoded_file):
        with refuses(BadItem, "bomb.png", "178,956,970"):
            read(tmp_path / "bomb.png")


def no_pixels(_: Image.Image) -> None:
    raise AssertionError("pixels were decoded")
