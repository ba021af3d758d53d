"""Pictures for VAEs of one channel, and back."""

import numpy as np
import torch
from PIL import Image

from vaekit.domains.images.channels import REDUCED, as_rgb, for_vae
from vaekit.domains.images.read import LoadedImage

COLOURS = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_vae_of_colours_gets_the_picture_as_it_is() -> None:
    picture = LoadedImage(COLOURS, notes=("a note",))
    for channels in (2, 3, 4):
        pixels, notes = for_vae(picture, channels)
        assert pixels is COLOURS
        assert notes == ("a note",)


def test_a_grey_picture_keeps_its_values_to_the_last_bit() -> None:
    grey = COLOURS[:, :1]
    pixels, notes = for_vae(LoadedImage(grey.expand(-1, 3, -1, -1)), 1)
    assert torch.equal(pixels, grey)
    assert notes == ()
    assert torch.equal(as_rgb(pixels), grey.expand(-1, 3, -1, -1))


def test_colours_become_the_luma_that_pillow_gives_and_it_is_told() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    x = torch.from_numpy(levels).permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    pixels, notes = for_vae(LoadedImage(x, notes=("a note",)), 1)
    assert pixels.shape == (1, 1, 6, 5)
    theirs = torch.from_numpy(np.array(Image.fromarray(levels).convert("L"))).float() / 127.5 - 1
    torch.testing.assert_close(pixels[0, 0], theirs, atol=1 / 127.5, rtol=0)
    assert notes == ("a note", REDUCED)


def test_colours_stay_colours() -> None:
    assert as_rgb(COLOURS) is COLOURS
