import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from refusals import refuses
from torch import Tensor

from vaekit.domains.images.read import LoadedImage, read_image
from vaekit.domains.images.write import FORMAT_BY_ENDING, side_by_side, srgb_profile, to_bytes, write_image
from vaekit.errors import BadItem, CannotWrite

LOSSLESS = [".png", ".webp", ".tif", ".tiff", ".PNG"]


def noise(height: int = 5, width: int = 7, seed: int = 0) -> Tensor:
    """Random pixels that are 8-bit levels exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator).float() / 127.5 - 1


def ramp(height: int = 5, width: int = 7) -> Tensor:
    """An alpha from 0 to 1."""
    return torch.linspace(0, 255, height * width).round().view(1, 1, height, width) / 255


def block() -> bytes:
    """EXIF that names a camera and a time."""
    exif = Image.Exif()
    exif[0x010F] = "Camera works"
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05"}
    return exif.tobytes()


# Rounding


def test_every_level_comes_back() -> None:
    levels = torch.arange(256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    for pixels in (levels / 127.5 - 1, (levels.double() / 127.5 - 1), levels.float().div(127.5).sub(1)):
        np.testing.assert_array_equal(to_bytes(pixels)[..., 0], levels[0, 0])


def test_values_are_rounded_not_truncated_and_clamped() -> None:
    values = torch.tensor([-9.0, -1.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 254.6 / 127.5 - 1, 1.0, 9.0])
    rows = to_bytes(values.view(1, 1, 1, 7).expand(1, 3, 1, 7))
    assert rows[0, :, 2].tolist() == [0, 0, 0, 1, 255, 255, 255]
    assert rows.shape == (1, 7, 3)
    assert rows.dtype == np.uint8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_and_graphs(dtype: torch.dtype) -> None:
    pixels = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2).to(dtype).requires_grad_()
    assert to_bytes(pixels)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_a_number_is_refused(tmp_path: Path, value: float) -> None:
    pixels = noise()
    pixels[0, 1, 2, :2] = value
    with refuses(BadItem, "2"):
        write_image(tmp_path / "p.png", pixels)
    assert list(tmp_path.iterdir()) == []


# Files


@pytest.mark.parametrize("ending", LOSSLESS)
def test_lossless_round_trip_is_exact(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "new" / f"p{ending}"
    write_image(path, noise())
    back = read_image(path)
    torch.testing.assert_close(back.pixels, noise(), atol=1e-6, rtol=0)
    assert (back.alpha, back.icc, back.notes) == (None, False, ())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@given(pixels=st.binary(min_size=3, max_size=300))
@settings(max_examples=25, deadline=None)
def test_any_levels_survive_png(tmp_path_factory: pytest.TempPathFactory, pixels: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "p.png"
    levels = torch.tensor(list(pixels[: len(pixels) // 3 * 3])).view(1, 3, 1, -1)
    write_image(path, levels / 127.5 - 1)
    np.testing.assert_array_equal(to_bytes(read_image(path).pixels), levels[0].permute(1, 2, 0))


def test_jpeg_is_close_and_keeps_colors_at_full_size(tmp_path: Path) -> None:
    smooth = torch.linspace(-1, 1, 64).view(1, 1, 1, 64).expand(1, 3, 48, 64)
    for ending in (".jpg", ".JPEG"):
        write_image(tmp_path / f"p{ending}", smooth)
        assert (read_image(tmp_path / f"p{ending}").pixels - smooth).abs().max() < 4 / 127.5
    with Image.open(tmp_path / "p.jpg") as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}


@pytest.mark.parametrize("ending", sorted(FORMAT_BY_ENDING))
def test_facts_of_the_original_are_kept(tmp_path: Path, ending: str) -> None:
    like = LoadedImage(noise(), icc=True, exif=block(), dpi=(300.0, 300.0))
    path = tmp_path / f"p{ending}"
    write_image(path, noise(), like)
    back = read_image(path)
    assert back.icc
    assert back.exif is not None
    kept = Image.Exif()
    kept.load(back.exif)
    assert kept[0x010F] == "Camera works"
    assert kept.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    if ending != ".webp":
        assert back.dpi == pytest.approx((300, 300), abs=0.01)
    # The embedded profile is sRGB: reading it back converts nothing.
    assert back.notes == ()


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_alpha_is_kept_beside_the_colors(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    write_image(path, noise(), like=LoadedImage(noise(), alpha=ramp()))
    back = read_image(path)
    torch.testing.assert_close(back.pixels, noise(), atol=1e-6, rtol=0)
    torch.testing.assert_close(back.alpha, ramp(), atol=1e-6, rtol=0)


def test_a_given_alpha_goes_before_that_of_the_original(tmp_path: Path) -> None:
    write_image(tmp_path / "p.png", noise(), like=LoadedImage(noise(), alpha=ramp()), alpha=1 - ramp())
    torch.testing.assert_close(read_image(tmp_path / "p.png").alpha, 1 - ramp(), atol=1e-6, rtol=0)


def test_jpeg_is_laid_over_white(tmp_path: Path) -> None:
    black = torch.full((1, 3, 16, 48), -1.0)
    alpha = torch.tensor([0.0, 0.5, 1.0]).repeat_interleave(16).view(1, 1, 1, 48).expand(1, 1, 16, 48)
    write_image(tmp_path / "p.jpg", black, alpha=alpha)
    back = read_image(tmp_path / "p.jpg")
    assert back.alpha is None
    torch.testing.assert_close(back.pixels[0, 0, 8, [8, 24, 40]], torch.tensor([1.0, 0.0, -1.0]), atol=0.03, rtol=0)


def test_alpha_of_another_size_is_a_mistake(tmp_path: Path) -> None:
    with refuses(ValueError, "(3, 7)"):
        write_image(tmp_path / "p.png", noise(), alpha=ramp(3, 7))


@pytest.mark.parametrize("name", ["p.bmp", "p", "p.png.txt", ".png"])
def test_an_unknown_ending(tmp_path: Path, name: str) -> None:
    with refuses(CannotWrite, ".png"):
        write_image(tmp_path / name, noise())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ending", "width"), [(".webp", 16_384), (".jpg", 65_536)])
def test_too_large_for_the_format(tmp_path: Path, ending: str, width: int) -> None:
    with pytest.raises(CannotWrite):
        write_image(tmp_path / f"p{ending}", torch.zeros(1, 3, 1, width))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    with pytest.raises(CannotWrite):
        write_image(tmp_path / "p.png", noise())


def test_an_existing_file_survives_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "p.webp"
    write_image(path, noise())
    before = path.read_bytes()
    with pytest.raises(CannotWrite):
        write_image(path, torch.zeros(1, 3, 1, 16_384))
    assert path.read_bytes() == before


def test_the_embedded_profile_is_srgb_and_always_the_same() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in profile.profile.profile_description
    assert srgb_profile() == srgb_profile()


# Sheets


def test_small_images_are_enlarged_and_none_is_resampled() -> None:
    images = [noise(32, 32, seed) for seed in range(3)]
    sheet = side_by_side(images, ["one", "two", "three"])
    assert sheet.shape[-1] == 8 + 3 * (192 + 8)
    for index, image in enumerate(images):
        left = 8 + index * 200
        panel = sheet[..., 8 : 8 + 192, left : left + 192]
        torch.testing.assert_close(panel[..., ::6, ::6], image, atol=1e-6, rtol=0)
        torch.testing.assert_close(panel[..., 5::6, 5::6], image, atol=1e-6, rtol=0)


def test_wide_images_are_stacked() -> None:
    beside = side_by_side([torch.zeros(1, 3, 200, 400)] * 2, ["a", "b"])
    stacked = side_by_side([torch.zeros(1, 3, 199, 400)] * 2, ["a", "b"])
    assert beside.shape[-1] > 800 > stacked.shape[-1]
    assert stacked.shape[-2] > 400 > beside.shape[-2]


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (512, 4), (4, 512), (300, 200)])
def test_captions_stay_inside_their_panel(size: tuple[int, int]) -> None:
    # Panels of the background's own color: what differs from it is ink.
    paper = torch.full((1, 3, *size), 240 / 127.5 - 1)
    caption = "sd-vae-ft-mse, 27.31 dB, and a great many words after that which no panel could ever hold"
    sheet = side_by_side([paper, paper], [caption, ""])
    ink = (sheet - paper[..., :1, :1]).abs().amax(dim=(0, 1)) > 0.1
    rows, columns = ink.nonzero(as_tuple=True)
    assert len(columns) > 20
    half_or_all = sheet.shape[-1] if size[1] > 2 * size[0] else sheet.shape[-1] // 2
    assert columns.min() >= 7 and columns.max() < half_or_all
    assert rows.max() < sheet.shape[-2]


def test_captions_in_any_script() -> None:
    sheet = side_by_side([noise(64, 64)], ["Ünïcode \u00d7 8 \u2192 \u65e5\u672c \n\t\0"])
    assert sheet.isfinite().all()


def test_mistakes_on_a_sheet() -> None:
    with pytest.raises(ValueError):
        side_by_side([], [])
    with pytest.raises(ValueError):
        side_by_side([noise(5, 7), noise(7, 5)], ["a", "b"])
    with pytest.raises(ValueError):
        side_by_side([noise(), noise()], ["a"])
