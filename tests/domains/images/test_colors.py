"""Color profiles: what is not sRGB is converted, what makes no sense is ignored with a note."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from handmade_images import half_transparent, in_8_bits, levels, scene, some
from handmade_profiles import GRAY_PROFILE, SRGB_PROFILE, WIDE, WIDE_PROFILE, encode_srgb, ink_profile
from PIL import Image

from vaekit.domains.images.read import read_image

Saved = Callable[..., Path]


def test_a_wide_profile_is_converted(saved: Saved) -> None:
    image = read_image(saved(Image.new("RGB", (2, 2), (200, 120, 100)), icc_profile=WIDE_PROFILE))
    sample = np.array([200, 120, 100]) / 255
    # Both spaces under D50, as ICC has it; the sRGB primaries adapted by Bradford.
    srgb = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
    expected = 255 * encode_srgb(sample**2.2 @ np.array(WIDE) @ np.linalg.inv(srgb))
    assert np.abs(levels(image)[0, 0] - expected).max() <= 1
    assert image.icc
    assert image.notes == ("color profile 'Made by hand' converted to sRGB",)


def test_srgb_is_left_alone_to_the_last_level(saved: Saved) -> None:
    image = read_image(saved(scene(), icc_profile=SRGB_PROFILE))
    np.testing.assert_array_equal(levels(image), in_8_bits(scene()))
    assert image.icc
    assert image.notes == ()


@pytest.mark.parametrize("profile", [WIDE_PROFILE, GRAY_PROFILE])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_profiles_of_gray_images(saved: Saved, mode: str, profile: bytes) -> None:
    pil = Image.new("L", (7, 5), 64)
    if mode == "LA":
        pil.putalpha(half_transparent())
    image = read_image(saved(pil, icc_profile=profile))
    linear = (64 / 255) ** (1.0 if profile is GRAY_PROFILE else 2.2)
    assert np.abs(levels(image) - 255 * encode_srgb(np.array(linear))).max() <= 1.5
    assert (image.alpha is None) == (mode == "L")


def test_profile_of_a_16_bit_gray_image(saved: Saved) -> None:
    image = read_image(saved(Image.fromarray(np.full((3, 3), 64 * 257, np.uint16)), icc_profile=GRAY_PROFILE))
    assert np.abs(levels(image) - 255 * encode_srgb(np.array(64 / 255))).max() <= 1
    assert len(image.notes) == 2


@pytest.mark.parametrize("profile", [WIDE_PROFILE, SRGB_PROFILE, b"broken", GRAY_PROFILE])
def test_profiles_change_colors_and_not_alpha(saved: Saved, profile: bytes) -> None:
    image = scene()
    image.putalpha(half_transparent())
    with_alpha = read_image(saved(image, icc_profile=profile))
    without = read_image(saved(scene(), icc_profile=profile))
    torch.testing.assert_close(with_alpha.pixels, without.pixels)
    np.testing.assert_allclose(some(with_alpha.alpha)[0, 0], np.asarray(half_transparent()) / 255, atol=1e-6)


def test_profile_of_a_palette_image(saved: Saved) -> None:
    image = Image.new("RGB", (2, 2), (200, 120, 100))
    in_palette = read_image(saved(image.convert("P", palette=Image.Palette.ADAPTIVE), icc_profile=WIDE_PROFILE))
    torch.testing.assert_close(in_palette.pixels, read_image(saved(image, icc_profile=WIDE_PROFILE)).pixels)


@pytest.mark.parametrize("profile", [b"broken", WIDE_PROFILE[:200], GRAY_PROFILE, ink_profile()])
def test_a_broken_or_foreign_profile_is_ignored_with_a_note(saved: Saved, profile: bytes) -> None:
    image = read_image(saved(scene(), icc_profile=profile))
    np.testing.assert_array_equal(levels(image), in_8_bits(scene()))
    assert image.icc
    assert "ignored" in image.notes[0]


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk_follows_its_profile(saved: Saved, ending: str) -> None:
    pil = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image = read_image(saved(pil, ending, icc_profile=ink_profile()))
    red, green, blue = levels(image)[8, 8]
    assert red > 230 and green < 60 and blue < 60
    assert image.notes == ("color profile 'Made by hand' converted to sRGB",)
