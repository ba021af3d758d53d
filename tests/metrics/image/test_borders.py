"""Errors at corners and sides."""

import pytest
import torch
from degraded_images import gaussian

from vaekit.metrics.image.borders import border_error


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert border_error(image, image).item() == 0


def test_corners_and_sides(image: torch.Tensor) -> None:
    corner, side = image.clone(), image.clone()
    corner[..., -32:, -32:] -= 30 / 127.5
    side[..., :12] += 20 / 127.5
    assert border_error(image, corner).item() == pytest.approx(30, abs=4)
    assert border_error(image, side).item() > 8
    assert border_error(image, gaussian(image, 1)).item() < 4
    assert border_error(image[..., :64, :64], corner[..., :64, :64]).item() == 0
