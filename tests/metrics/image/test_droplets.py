"""Bright blobs that the image does not have."""

import pytest
import torch
from degraded_images import gaussian

from vaekit.metrics.image.droplets import droplets


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert droplets(image, image).item() == 0


def test_droplets_are_counted(image: torch.Tensor) -> None:
    i, j = torch.arange(192).view(-1, 1), torch.arange(256)
    y = image.clone()
    for top, left in ((50, 60), (100, 200), (140, 90)):
        y += 0.6 * torch.exp(-((i - top) ** 2 + (j - left) ** 2) / 32)
    assert droplets(image, y).item() * 192 * 256 / 1e6 == pytest.approx(3, abs=1.01)
    assert droplets(image, gaussian(image, 1)).item() == 0
