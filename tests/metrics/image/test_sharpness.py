"""The sigma of a blur."""

import math

import pytest
import torch
from degraded_images import eight_bit, gaussian

from vaekit.metrics.image.sharpness import blur_sigma


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert blur_sigma(image, image).item() == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 1.5])
def test_the_sigma_of_a_blur(image: torch.Tensor, sigma: float) -> None:
    assert blur_sigma(image, eight_bit(gaussian(image, sigma))).item() == pytest.approx(sigma, rel=0.15)


def test_noise_and_contrast_are_no_blur(image: torch.Tensor) -> None:
    noise = 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert blur_sigma(image, 0.8 * image + noise).item() == pytest.approx(0, abs=0.2)
    assert blur_sigma(image, 2 * image - gaussian(image, 1)).item() < -0.2
    assert math.isnan(blur_sigma(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).item())
