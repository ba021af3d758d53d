"""MS-SSIM against the formula written out with scipy, in double precision."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage import data
from torch import Tensor

from vaekit.metrics.image.ms_ssim import WEIGHTS, ms_ssim, scales_that_fit
from vaekit.metrics.image.ssim import ssim


def photograph(height: int, width: int) -> Tensor:
    return torch.from_numpy(data.astronaut()[:height, :width].copy()).permute(2, 0, 1)[None] / 127.5 - 1


def blurred(values: np.ndarray) -> np.ndarray:
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    return correlate1d(correlate1d(values, kernel, axis=0), kernel, axis=1)[5:-5, 5:-5]


def factors(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """SSIM and CS of one channel in 0..2."""
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    structure = (2 * (blurred(x * y) - mean_x * mean_y) + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * structure).mean(), structure.mean()


def written_out(x: Tensor, y: Tensor, weights: tuple[float, ...] = WEIGHTS) -> float:
    results = []
    for a, b in zip(x.double().numpy() + 1, y.double().numpy() + 1, strict=True):
        value = 1.0
        for scale, weight in enumerate(weights):
            whole, structure = factors(a, b)
            value *= max(0, whole if scale == len(weights) - 1 else structure) ** (weight / sum(weights))
            height, width = (side // 2 * 2 for side in a.shape)
            a, b = (v[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for v in (a, b))
        results.append(value)
    return float(np.mean(results))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("size", [(176, 176), (201, 333)])
def test_agrees_with_the_formula(size: tuple[int, int], noise: float) -> None:
    x = photograph(*size)
    y = (x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    assert ms_ssim(x, y).item() == pytest.approx(written_out(x[0], y[0]), abs=1e-5)


def test_small_images_have_fewer_scales() -> None:
    x = photograph(90, 100)
    y = (0.8 * x).roll(1, -1)
    assert scales_that_fit(90, 100) == 4
    assert ms_ssim(x, y).item() == pytest.approx(written_out(x[0], y[0], WEIGHTS[:4]), abs=1e-5)
    tiny, other = x[..., :15, :15], y[..., :15, :15]
    assert ms_ssim(tiny, other).item() == pytest.approx(ssim(tiny, other).item(), abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (11, 11), (22, 22), (175, 176)])
def test_any_size_is_defined(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(2))
    assert ms_ssim(x, -x).isfinite().all()


def test_a_negative_image_scores_nothing() -> None:
    x = photograph(200, 200)
    assert ms_ssim(x, -x).item() == 0


def test_one_number_for_each_pair_and_half_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 3, 3, 180, 190, generator=generator) * 2 - 1).unbind(0)
    alone = torch.cat([ms_ssim(x[i : i + 1], y[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(ms_ssim(x, y), alone, atol=1e-6, rtol=0)
    assert ms_ssim(x.half(), y.half())[0].item() == pytest.approx(alone[0].item(), abs=1e-3)
