import base64
import io

import numpy as np
import torch
from example_report import image
from PIL import Image

from vaekit.report.embedding import Embedded, differences, exact, levels_of, photograph, thumbnail


def opened(one: Embedded) -> np.ndarray:
    head, text = one.url.split(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_exact_images_are_exact() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    assert (opened(exact(levels[3:, 5:])) == levels[3:, 5:]).all()


def test_small_images_are_exact_and_larger_ones_nearly() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (10, 480, 3), dtype=np.uint8)
    assert (opened(photograph(levels)) == levels).all()
    ramp = np.broadcast_to(np.linspace(0, 255, 600)[None, :, None].astype(np.uint8), (40, 600, 3))
    found = opened(photograph(np.ascontiguousarray(ramp))).astype(int)
    assert 0 < np.abs(found - ramp).max() < 8


def test_large_images_are_reduced() -> None:
    levels = np.zeros((100, 2000, 3), np.uint8)
    one = photograph(levels)
    assert (one.width, one.height) == (1600, 80) == opened(one).shape[1::-1]
    assert max(thumbnail(levels).width, thumbnail(levels).height) == 144


def test_differences_are_signed_means_over_blocks() -> None:
    original = np.full((500, 768, 3), 100, np.uint8)
    levels = original.copy()
    levels[:2, :2, 0] = 110
    levels[2:4, :2, 1] = 93
    levels[:2, 2] = 103  # half of its block: 1.5 rounds to the even 2
    found = differences(original, levels)
    assert found.block == 2
    coded = opened(found.embedded).astype(int) - 128
    assert coded.shape == (250, 384, 3)
    assert (
        coded[0, 0].tolist() == [10, 0, 0] and coded[1, 0].tolist() == [0, -7, 0] and coded[0, 1].tolist() == [2, 2, 2]
    )
    assert not coded[2:].any()


def test_blocks_at_the_edges_are_means_of_what_is_there() -> None:
    original = np.full((769, 385, 3), 100, np.uint8)
    levels = original.copy()
    levels[768] = 109
    found = differences(original, levels)
    assert found.block == 3 and found.embedded.height == 257
    assert (opened(found.embedded)[-1].astype(int) - 128 == 9).all()


def test_differences_too_large_are_cut() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert (opened(differences(black, white).embedded) == 255).all()
    assert (opened(differences(white, black).embedded) == 1).all()


def test_pixels_that_are_not_numbers_are_magenta_and_counted() -> None:
    pixels = image(8, 8)
    pixels[0, 1, 2, 3] = torch.nan
    pixels[0, :, 4, 4] = torch.inf
    levels, broken = levels_of(pixels)
    assert broken == 1 and levels[2, 3].tolist() == [255, 0, 255] and levels[4, 4].tolist() == [255, 255, 255]
