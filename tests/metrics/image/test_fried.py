"""Single pixels that are far off."""

import numpy as np
import pytest
import torch
from degraded_images import eight_bit, gaussian
from scipy import ndimage

from vaekit.metrics.image.fried import fried_pixels, median3x3


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert fried_pixels(image, image).item() == 0


def test_fried_pixels_are_counted_and_edges_are_none(image: torch.Tensor) -> None:
    y = image.clone()
    places = torch.randperm(192 * 256, generator=torch.Generator().manual_seed(0))[:50]
    y.flatten(2)[..., places] = 1
    assert fried_pixels(image, y).item() == pytest.approx(1e6 * 50 / (192 * 256), rel=0.25)
    for changed in (gaussian(image, 1), 2 * image - gaussian(image, 1), image * 0.5, -image):
        assert fried_pixels(image, eight_bit(changed)).item() < 30


def test_median_is_scipys() -> None:
    x = torch.randint(0, 256, (2, 17, 23), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = np.stack([ndimage.median_filter(plane, 3, mode="mirror") for plane in x.numpy()])
    np.testing.assert_array_equal(median3x3(x).numpy(), expected)
