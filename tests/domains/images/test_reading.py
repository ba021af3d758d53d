import io
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, features
from torch import Tensor

from vaekit.domains.images import reading
from vaekit.domains.images.reading import TURNS, Picture, find_pictures, read_picture
from vaekit.errors import BadPicture, NotFound, VaekitError

Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Save an image under `tmp_path` and give its path."""

    def save(image: Image.Image, ending: str = ".png", **options: object) -> Path:
        path = tmp_path / f"picture{ending}"
        image.save(path, **options)
        return path

    return save


def scene(mode: str = "RGB", size: tuple[int, int] = (7, 5)) -> Image.Image:
    """A small picture in which no two rows, columns or corners are alike."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def levels(picture: Picture) -> NDArray[np.int64]:
    """The pixels as 8-bit levels (h, w, 3); each must be one exactly."""
    values = picture.pixels[0].permute(1, 2, 0).double().numpy()
    rounded = np.round((values + 1) * 127.5)
    np.testing.assert_allclose(values, rounded / 127.5 - 1, atol=1e-6)
    return rounded.astype(np.int64)


def in_8_bits(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB")).astype(np.int64)


# Profiles, made by hand (ICC.1:2001-04): Pillow can make none but sRGB, Lab and XYZ.


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    name = b"Made by hand\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": description, b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), **tags}
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content
    header = bytes(4) + struct.pack(">I", 0x02400000) + kind + space + connection + bytes(12) + b"acsp" + bytes(28)
    header += fixed(0.9642, 1, 0.8249) + bytes(48)
    return struct.pack(">I", 128 + len(table) + len(data)) + header[: 128 - 4].ljust(124, b"\0") + table + data


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


WIDE = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""The primaries of Display P3 in XYZ under D50."""

WIDE_PROFILE = icc(
    b"RGB ",
    {name + b"XYZ": b"XYZ \0\0\0\0" + fixed(*primary) for name, primary in zip((b"r", b"g", b"b"), WIDE, strict=True)}
    | {name + b"TRC": gamma(2.2) for name in (b"r", b"g", b"b")},
)
GREY_PROFILE = icc(b"GRAY", {b"kTRC": gamma(1.0)})
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def ink_profile() -> bytes:
    """CMYK on white paper, where full cyan alone comes out red and every other ink black."""
    corners = [(255, 128, 128), *[(0, 128, 128)] * 15]
    corners[8] = (136, 208, 195)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += ramp * 4 + b"".join(bytes(corner) for corner in corners) + ramp * 3
    return icc(b"CMYK", {b"A2B0": table, b"A2B1": table}, connection=b"Lab ", kind=b"prtr")


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055)


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG written by hand, for depths that Pillow cannot write; `rows` with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


# Plain pictures


PLAIN = [(mode, ending) for mode in ("RGB", "L", "1", "P") for ending in (".png", ".tif", ".bmp", ".gif")]


# GIF has a palette, and colours would be reduced to it on saving.
@pytest.mark.parametrize(("mode", "ending"), [plain for plain in PLAIN if plain != ("RGB", ".gif")])
def test_lossless_files_come_back_level_for_level(saved: Saved, mode: str, ending: str) -> None:
    path = saved(scene(mode), ending)
    picture = read_picture(path)
    assert (picture.height, picture.width) == (5, 7)
    assert picture.pixels.shape == (1, 3, 5, 7)
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.is_contiguous()
    assert (picture.alpha, picture.notes, picture.icc, picture.exif) == (None, (), False, None)
    with Image.open(path) as image:
        np.testing.assert_array_equal(levels(picture), in_8_bits(image))


def test_black_is_minus_one_and_white_is_one(saved: Saved) -> None:
    image = Image.new("L", (2, 1))
    image.putpixel((1, 0), 255)
    assert read_picture(saved(image)).pixels[0, 0].tolist() == [[-1.0, 1.0]]


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    scene().save(path, format="PNG")
    np.testing.assert_array_equal(levels(read_picture(path)), in_8_bits(scene()))


@pytest.mark.parametrize("ending", [".webp", ".avif", ".jpg", ".jp2"])
def test_lossy_formats_are_read(saved: Saved, ending: str) -> None:
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    smooth = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    picture = read_picture(saved(smooth, ending, quality=95) if ending != ".jp2" else saved(smooth, ending))
    assert np.abs(levels(picture) - in_8_bits(smooth)).max() <= 6


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "CMYK"])
def test_other_colour_modes(saved: Saved, mode: str) -> None:
    image = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    picture = read_picture(saved(image.convert(mode), ".tif"))
    assert np.abs(levels(picture) - in_8_bits(image)).max() <= 4


def test_adobe_cmyk_jpeg_is_not_inverted(saved: Saved) -> None:
    image = Image.new("RGB", (16, 16), (250, 240, 10))
    picture = read_picture(saved(image.convert("CMYK"), ".jpg", quality=100))
    assert np.abs(levels(picture) - (250, 240, 10)).max() <= 4
    assert "CMYK" in picture.notes[0]


def test_dots_per_inch(saved: Saved) -> None:
    assert read_picture(saved(scene(), ".tif", dpi=(300, 150))).dpi == (300, 150)
    assert read_picture(saved(scene(), ".tif")).dpi is None


# Orientation and EXIF


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright(saved: Saved, orientation: int, ending: str) -> None:
    stored = scene()
    upright = stored.transpose(TURNS[orientation]) if orientation > 1 else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(saved(stored, ending, exif=exif, lossless=True, dpi=(300, 150)))
    np.testing.assert_array_equal(levels(picture), in_8_bits(upright))
    assert picture.notes == ((f"turned upright (EXIF orientation {orientation})",) if orientation > 1 else ())
    assert picture.exif is None
    if ending == ".tif":
        assert picture.dpi == ((150, 300) if orientation >= 5 else (300, 150))


def test_alpha_turns_with_the_colours(saved: Saved) -> None:
    stored = scene("RGBA")
    stored.putalpha(Image.linear_gradient("L").resize(stored.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = read_picture(saved(stored, exif=exif)).alpha
    expected = np.asarray(stored.getchannel("A").transpose(Image.Transpose.ROTATE_270)) / 255
    np.testing.assert_allclose(some(alpha)[0, 0], expected, atol=1e-6)


def some(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def test_exif_keeps_the_scene_and_drops_the_old_file(saved: Saved) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    exif[0x010F] = "Camera works"
    exif[0x0100] = 7
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05", 0x927C: b"maker", 0xA002: 7}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    kept = Image.Exif()
    kept.load(read_picture(saved(scene(), ".jpg", exif=exif)).exif or b"")
    assert kept[0x010F] == "Camera works"
    assert kept.get_ifd(0x8769) == {0x9003: "2024:01:02 03:04:05"}
    assert kept.get_ifd(0x8825)[2] == (52.0, 30.0, 0.0)
    assert 0x0112 not in kept and 0x0100 not in kept


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" * 9]
)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_broken_exif_is_not_fatal(saved: Saved, exif: bytes, ending: str) -> None:
    assert read_picture(saved(scene(), ending, exif=exif)).exif is None


def test_overlong_exif_is_left_out(saved: Saved) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    picture = read_picture(saved(scene(), ".png", exif=exif))
    assert picture.exif is None
    assert picture.notes == ("EXIF data left out: too long",)


# Transparency


def half_transparent() -> Image.Image:
    return Image.linear_gradient("L").resize((7, 5))


@pytest.mark.parametrize(("mode", "ending"), [("RGBA", ".png"), ("LA", ".png"), ("RGBA", ".webp"), ("PA", ".tif")])
def test_alpha_stands_beside_untouched_colours(saved: Saved, mode: str, ending: str) -> None:
    colours = scene("L" if mode == "LA" else "P" if mode == "PA" else "RGB")
    image = colours.copy()
    image.putalpha(half_transparent())
    assert image.mode == mode
    picture = read_picture(saved(image, ending, lossless=True, exact=True))
    np.testing.assert_array_equal(levels(picture), in_8_bits(colours))
    np.testing.assert_allclose(some(picture.alpha)[0, 0], np.asarray(half_transparent()) / 255, atol=1e-6)
    assert some(picture.alpha).shape == (1, 1, 5, 7)


def test_an_opaque_alpha_is_none(saved: Saved) -> None:
    assert read_picture(saved(scene("RGBA"))).alpha is None


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255, 7])])
def test_transparent_palette(saved: Saved, transparency: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    picture = read_picture(saved(image, transparency=transparency))
    expected = [255, 255, 255, 0] if transparency == 3 else [0, 128, 255, 7]
    np.testing.assert_allclose(some(picture.alpha)[0, 0, 0] * 255, expected, atol=1e-4)
    np.testing.assert_array_equal(levels(picture)[0, 3], (100, 110, 120))


@pytest.mark.parametrize(("mode", "transparency"), [("RGB", (1, 2, 3)), ("L", 9)])
def test_one_transparent_colour(saved: Saved, mode: str, transparency: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), transparency)
    image.putpixel((1, 0), (200, 0, 0) if mode == "RGB" else 200)
    assert some(read_picture(saved(image, transparency=transparency)).alpha)[0, 0].tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent"),
    [
        (2, 0, bytes([0b01_10_00_00]), struct.pack(">H", 1)),
        (4, 0, bytes([0x5A]), struct.pack(">H", 5)),
        (16, 0, struct.pack(">HH", 1000, 2000), struct.pack(">H", 1000)),
        (16, 2, struct.pack(">6H", 1000, 2000, 3000, 60000, 0, 0), struct.pack(">3H", 1000, 2000, 3000)),
    ],
)
def test_one_transparent_colour_at_other_depths(
    tmp_path: Path, depth: int, colour: int, row: bytes, transparent: bytes
) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png(2, 1, depth, colour, b"\0" + row, chunk(b"tRNS", transparent)))
    assert some(read_picture(path).alpha)[0, 0].tolist() == [[0.0, 1.0]]


# More than 8 bits

DEEP = np.array([[0, 1, 255, 256], [1000, 32768, 65534, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
def test_16_bit_grey_keeps_every_value(saved: Saved, ending: str) -> None:
    picture = read_picture(saved(Image.fromarray(DEEP), ending))
    np.testing.assert_allclose(picture.pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)
    assert picture.notes == ()


def test_16_bit_grey_in_the_other_byte_order(saved: Saved) -> None:
    image = Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes())
    np.testing.assert_allclose(read_picture(saved(image, ".tif")).pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)


def test_32_bit_whole_numbers_count_to_65535(saved: Saved) -> None:
    image = Image.fromarray(DEEP.astype(np.int32))
    np.testing.assert_allclose(read_picture(saved(image, ".tif")).pixels[0, 1], DEEP / 32767.5 - 1, atol=2e-7)


def test_whole_numbers_beyond_are_stretched(saved: Saved) -> None:
    picture = read_picture(saved(Image.fromarray(np.array([[-100, 0, 100]], dtype=np.int32)), ".tif"))
    assert picture.pixels[0, 0].tolist() == [[-1.0, 0.0, 1.0]]
    assert picture.notes == ("grey values from -100 to 100 stretched from black to white",)


def test_floats_count_from_0_to_1(saved: Saved) -> None:
    picture = read_picture(saved(Image.fromarray(np.array([[0.25, 0.5, 0.75]], dtype=np.float32)), ".tif"))
    assert picture.pixels[0, 0].tolist() == [[-0.5, 0.0, 0.5]]
    assert picture.notes == ()


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
    picture = read_picture(saved(Image.fromarray(np.array([values], dtype=np.float32)), ".tif"))
    assert picture.pixels[0, 0].tolist() == [expected]
    assert picture.notes


def test_16_bit_colour_is_read_with_8_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 0x1234, 0x5678, 0x9ABC, 0x8000)))
    picture = read_picture(path)
    assert levels(picture)[0, 0].tolist() == [0x12, 0x56, 0x9A]
    assert some(picture.alpha).item() == pytest.approx(0x80 / 255)
    assert picture.notes == ("16-bit, read with 8 bits",)


# Colour profiles


def test_a_wide_profile_is_converted(saved: Saved) -> None:
    picture = read_picture(saved(Image.new("RGB", (2, 2), (200, 120, 100)), icc_profile=WIDE_PROFILE))
    sample = np.array([200, 120, 100]) / 255
    # Both spaces under D50, as ICC has it; the sRGB primaries adapted by Bradford.
    srgb = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
    expected = 255 * encode_srgb(sample**2.2 @ np.array(WIDE) @ np.linalg.inv(srgb))
    assert np.abs(levels(picture)[0, 0] - expected).max() <= 1
    assert picture.icc
    assert picture.notes == ("colour profile 'Made by hand' converted to sRGB",)


def test_srgb_is_left_alone_to_the_last_level(saved: Saved) -> None:
    picture = read_picture(saved(scene(), icc_profile=SRGB_PROFILE))
    np.testing.assert_array_equal(levels(picture), in_8_bits(scene()))
    assert picture.icc
    assert picture.notes == ()


@pytest.mark.parametrize("profile", [WIDE_PROFILE, GREY_PROFILE])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_profiles_of_grey_pictures(saved: Saved, mode: str, profile: bytes) -> None:
    image = Image.new("L", (7, 5), 64)
    if mode == "LA":
        image.putalpha(half_transparent())
    picture = read_picture(saved(image, icc_profile=profile))
    linear = (64 / 255) ** (1.0 if profile is GREY_PROFILE else 2.2)
    assert np.abs(levels(picture) - 255 * encode_srgb(np.array(linear))).max() <= 1.5
    assert (picture.alpha is None) == (mode == "L")


def test_profile_of_a_16_bit_grey_picture(saved: Saved) -> None:
    picture = read_picture(saved(Image.fromarray(np.full((3, 3), 64 * 257, np.uint16)), icc_profile=GREY_PROFILE))
    assert np.abs(levels(picture) - 255 * encode_srgb(np.array(64 / 255))).max() <= 1
    assert len(picture.notes) == 2


@pytest.mark.parametrize("profile", [WIDE_PROFILE, SRGB_PROFILE, b"broken", GREY_PROFILE])
def test_profiles_change_colours_and_not_alpha(saved: Saved, profile: bytes) -> None:
    image = scene()
    image.putalpha(half_transparent())
    with_alpha = read_picture(saved(image, icc_profile=profile))
    without = read_picture(saved(scene(), icc_profile=profile))
    torch.testing.assert_close(with_alpha.pixels, without.pixels)
    np.testing.assert_allclose(some(with_alpha.alpha)[0, 0], np.asarray(half_transparent()) / 255, atol=1e-6)


def test_profile_of_a_palette_picture(saved: Saved) -> None:
    image = Image.new("RGB", (2, 2), (200, 120, 100))
    in_palette = read_picture(saved(image.convert("P", palette=Image.Palette.ADAPTIVE), icc_profile=WIDE_PROFILE))
    torch.testing.assert_close(in_palette.pixels, read_picture(saved(image, icc_profile=WIDE_PROFILE)).pixels)


@pytest.mark.parametrize("profile", [b"broken", WIDE_PROFILE[:200], GREY_PROFILE, ink_profile()])
def test_a_broken_or_foreign_profile_is_ignored_with_a_note(saved: Saved, profile: bytes) -> None:
    picture = read_picture(saved(scene(), icc_profile=profile))
    np.testing.assert_array_equal(levels(picture), in_8_bits(scene()))
    assert picture.icc
    assert "ignored" in picture.notes[0]


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_follows_its_profile(saved: Saved, ending: str) -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    picture = read_picture(saved(image, ending, icc_profile=ink_profile()))
    red, green, blue = levels(picture)[8, 8]
    assert red > 230 and green < 60 and blue < 60
    assert picture.notes == ("colour profile 'Made by hand' converted to sRGB",)


# Several frames


@pytest.mark.parametrize("ending", [".gif", ".webp", ".tif", ".png"])
def test_the_first_of_several_frames(saved: Saved, ending: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "green", "blue")]
    path = saved(frames[0], ending, save_all=True, append_images=frames[1:], lossless=True)
    picture = read_picture(path)
    assert levels(picture)[0, 0].tolist() == [255, 0, 0]
    assert picture.notes == ("first of 3 frames",)


# What is not a picture


def refused(path: Path, *words: str) -> None:
    with pytest.raises(BadPicture) as caught:
        read_picture(path)
    message = str(caught.value)
    assert str(path) in message or "too long" in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        read_picture(tmp_path / "nowhere.png")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotFound):
        read_picture(tmp_path / "file" / "inside.png")


def test_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "0 bytes")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300 + ".png"), "could not be opened")
    refused(tmp_path / "null\0byte.png")


def test_a_file_that_may_not_be_read(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(scene())
    monkeypatch.setattr(Path, "open", deny)
    refused(path, "Permission denied")


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is text\n" * 20,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        png(0, 5, 8, 2),
        b"P6 0 0 255\n",
    ],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated_files(saved: Saved, ending: str, part: float) -> None:
    path = saved(scene(size=(64, 64)), ending)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path)


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_decompression_bombs(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, bytes(100)))
    limit = Image.MAX_IMAGE_PIXELS
    refused(path, "178,956,970 pixels")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_holds_where_pillow_has_none(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(reading, "LARGEST_PICTURE", 34)
    refused(saved(scene()), "7 x 5 pixels")


def test_large_pictures_do_not_warn(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    path = saved(scene())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(path).width == 7


def _seeds() -> list[bytes]:
    """Small good files of several formats, to be damaged."""
    contents = []
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05"}
    for name in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        buffer = io.BytesIO()
        options = {} if name in ("GIF", "BMP", "PPM") else {"exif": exif.tobytes(), "icc_profile": WIDE_PROFILE}
        scene().save(buffer, format=name, **options)
        contents.append(buffer.getvalue())
    return contents


SEEDS = _seeds()
SIGNATURES = [content[:12] for content in SEEDS] + [b"", b"P5 3 3 65535\n", b"P1 2 2\n", b"qoif"]


def _reads_or_refuses(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.png"
        path.write_bytes(content)
        try:
            picture = read_picture(path)
        except VaekitError as error:
            assert "\n" not in str(error)
        else:
            assert picture.pixels.shape[:2] == (1, 3)
            assert picture.pixels.abs().max() <= 1


@given(signature=st.sampled_from(SIGNATURES), rest=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_either_read_or_are_refused(signature: bytes, rest: bytes) -> None:
    _reads_or_refuses(signature + rest)


@given(
    seed=st.sampled_from(SEEDS),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_pictures_either_read_or_are_refused(seed: bytes, damage: list[tuple[float, int]]) -> None:
    content = bytearray(seed)
    for place, value in damage:
        content[int(place * len(content))] = value
    _reads_or_refuses(bytes(content))


# Finding


def test_folders_are_expanded_and_files_kept(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/er/c.webp", "notes.txt", ".hidden.png", "d.png.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    inside = [tmp_path / name for name in ("a.JPG", "b.png", "deep/er/c.webp")]
    assert find_pictures([tmp_path]) == inside
    assert find_pictures([tmp_path / "notes.txt", tmp_path]) == [tmp_path / "notes.txt", *inside]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no pictures"):
        find_pictures([tmp_path])
    with pytest.raises(NotFound, match=r"nowhere\.png"):
        find_pictures([tmp_path / "nowhere.png"])
    with pytest.raises(NotFound):
        find_pictures([tmp_path / ("x" * 300)])


# Odd files of other people


def test_odd_files(shared_data: Path) -> None:
    folder = shared_data / "images" / "odd_files"
    pictures = {path.name: read_picture(path) for path in find_pictures([folder])}
    assert len(pictures) >= 9
    for picture in pictures.values():
        assert picture.pixels.shape == (1, 3, picture.height, picture.width)
        assert -1 <= picture.pixels.min() < picture.pixels.max() <= 1
    assert {name for name, picture in pictures.items() if picture.alpha is not None} >= {"children-alpha.png"}
    assert "Dot Gain 15%" in pictures["wolf_gray.jpg"].notes[0]
    refused(folder / "LICENSE", "not a picture")
