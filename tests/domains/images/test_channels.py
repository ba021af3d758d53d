"""Images for VAEs of one channel, and back."""

import numpy as np
import pytest
import torch
from PIL import Image
from refusals import refuses

from vaekit.domains.images.read import REDUCED, LoadedImage, for_vae
from vaekit.errors import BadItem
from vaekit.geometry import Geometry
from vaekit.metrics.image.color import as_rgb

GRAY = Geometry(1, 4, (8, 8))
COLORS = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_vae_of_colors_gets_the_image_as_it_is() -> None:
    image = LoadedImage(COLORS, notes=("a note",))
    pixels, notes = for_vae(image, Geometry(3, 4, (8, 8)))
    assert pixels is COLORS
    assert notes == ("a note",)


@pytest.mark.parametrize("channels", [2, 5, 12])
def test_a_vae_of_other_channels_takes_no_image_file(channels: int) -> None:
    with refuses(BadItem, channels):
        for_vae(LoadedImage(COLORS), Geometry(channels, 4, (8, 8)))


def test_a_gray_image_keeps_its_values_to_the_last_bit() -> None:
    gray = COLORS[:, :1]
    pixels, notes = for_vae(LoadedImage(gray.expand(-1, 3, -1, -1)), GRAY)
    assert torch.equal(pixels, gray)
    assert notes == ()
    assert torch.equal(as_rgb(pixels), gray.expand(-1, 3, -1, -1))


def test_colors_become_the_luma_that_pillow_gives_and_it_is_told() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    x = torch.from_numpy(levels).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    pixels, notes = for_vae(LoadedImage(x, notes=("a note",)), GRAY)
    assert pixels.shape == (1, 1, 6, 5)
    theirs = torch.from_numpy(np.array(Image.fromarray(levels).convert("L"))).float() / 127.5 - 1
    torch.testing.assert_close(pixels[0, 0], theirs, atol=1 / 127.5, rtol=0)
    assert notes == ("a note", REDUCED)


@pytest.mark.parametrize("geometry", [Geometry(1, 2), Geometry(3, 4, (2048,)), Geometry(3, 4, (4, 8, 8))])
def test_a_vae_of_other_items_is_refused(geometry: Geometry) -> None:
    with refuses(BadItem, "images"):
        for_vae(LoadedImage(COLORS), geometry)


def test_colors_stay_colors() -> None:
    assert as_rgb(COLORS) is COLORS
