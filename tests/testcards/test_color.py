"""Flat colours are flat."""

import torch

from vaekit.testcards.color import COLOURS, flat_colours


def test_each_picture_is_its_colour_everywhere() -> None:
    pictures = flat_colours((5, 7))
    assert pictures.shape == (len(COLOURS), 3, 5, 7)
    assert torch.equal(pictures, torch.tensor(COLOURS)[:, :, None, None].expand_as(pictures))
    assert pictures.abs().max() < 1


def test_other_colours_may_be_asked_for() -> None:
    assert flat_colours((2, 2), [(1.0, 0.0, -1.0)])[0, :, 1, 1].tolist() == [1.0, 0.0, -1.0]
