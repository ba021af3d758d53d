"""Flat colors are flat."""

import torch

from vaekit.testcards.color import COLORS, flat_colors


def test_each_image_is_its_color_everywhere() -> None:
    images = flat_colors((5, 7))
    assert images.shape == (len(COLORS), 3, 5, 7)
    assert torch.equal(images, torch.tensor(COLORS)[:, :, None, None].expand_as(images))
    assert images.abs().max() < 1


def test_other_colors_may_be_asked_for() -> None:
    assert flat_colors((2, 2), [(1.0, 0.0, -1.0)])[0, :, 1, 1].tolist() == [1.0, 0.0, -1.0]
