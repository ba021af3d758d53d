import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from vaekit.metrics.image.psnr import psnr


def test_agrees_with_scikit_image() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 20, 30, generator=generator) * 2 - 1
    y = (x + torch.randn(x.shape, generator=generator) * torch.tensor([0.001, 0.01, 0.1, 1]).view(4, 1, 1, 1)).clamp(
        -1, 1
    )
    theirs = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=2) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(psnr(x, y), torch.tensor(theirs, dtype=torch.float32), atol=1e-4, rtol=0)


def test_is_that_of_8_bit_levels() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, 256, (2, 1, 3, 16, 16), generator=generator)
    theirs = peak_signal_noise_ratio(x.numpy().astype(np.uint8), y.numpy().astype(np.uint8), data_range=255)
    assert psnr(x / 127.5 - 1, y / 127.5 - 1).item() == pytest.approx(theirs, abs=1e-4)


def test_equal_images_are_infinitely_close() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert psnr(x, x).tolist() == [math.inf, math.inf]


@given(st.floats(1e-3, 2))
def test_a_constant_error(error: float) -> None:
    x = torch.full((1, 3, 5, 5), -1.0)
    assert psnr(x, x + error).item() == pytest.approx(20 * math.log10(2 / error), abs=0.01)


def test_large_images_lose_no_digits() -> None:
    x = torch.rand(1, 3, 1500, 2000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    exact = 10 * math.log10(4 / (x.double() - 0.1).square().mean().item())
    for layout in (x, x.contiguous(memory_format=torch.channels_last)):
        assert psnr(layout, torch.full_like(layout, 0.1)).item() == pytest.approx(exact, abs=1e-4)


def test_half_precision_is_widened_first() -> None:
    x = torch.zeros(1, 3, 64, 64, dtype=torch.float16)
    assert psnr(x, x + 0.01).item() == pytest.approx(46.02, abs=0.01)
