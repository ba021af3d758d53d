import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import structural_similarity
from torch import Tensor

from vaekit.metrics.image.ssim import band_rows, ssim


def theirs(x: Tensor, y: Tensor) -> float:
    """scikit-image's, with the settings of the paper; (3, h, w) in [-1, 1], counted from black."""
    value = structural_similarity(
        (x + 1).double().numpy(),
        (y + 1).double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=0,
        data_range=2,
    )
    return float(value)


def photograph() -> Tensor:
    return torch.from_numpy(data.astronaut()[60:150, 180:290].copy()).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1, 0.5, 2.0])
def test_agrees_with_scikit_image_on_a_photograph(noise: float) -> None:
    x = photograph()
    y = (x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    assert ssim(x, y).item() == pytest.approx(theirs(x[0], y[0]), abs=1e-4)


@given(st.integers(11, 24), st.integers(11, 24), st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 0.01]))
@settings(max_examples=25, deadline=None)
def test_agrees_with_scikit_image_on_any_size(height: int, width: int, seed: int, contrast: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (contrast * (torch.rand(2, 2, 3, height, width, generator=generator) * 2 - 1)).unbind(0)
    expected = torch.tensor([theirs(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(ssim(x, y), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("width", [14, 4000])
@pytest.mark.parametrize("more", [9, 10, 11, 70])
def test_bands_of_a_tall_image_leave_no_seam(width: int, more: int) -> None:
    height = band_rows(width) + more
    x = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = x * torch.linspace(0, 1, height).view(1, 1, -1, 1)
    assert ssim(x, y).item() == pytest.approx(theirs(x[0], y[0]), abs=1e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (90, 97), (300, 301)])
def test_a_batch_is_its_items_one_by_one(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 7, 3, height, width, generator=generator) * 2 - 1).unbind(0)
    alone = torch.cat([ssim(x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(ssim(x, y), alone, atol=1e-6, rtol=0)


def test_counts_from_black_as_8_bit_levels_do() -> None:
    x, y = torch.full((2, 1, 3, 16, 16), 1 / 255), torch.full((1, 3, 16, 16), -1 / 255)
    # Two grays a level apart: nearly the same. About a zero in mid gray they would seem opposites.
    assert ssim(x[0], y).item() > 0.9999


def test_equal_images_score_one_and_order_does_not_matter() -> None:
    x = photograph()
    y = x.flip(-1)
    assert ssim(x, x).item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    assert ssim(x, -x).item() < 0.2


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 2), (10, 10), (11, 10), (40, 3)])
def test_images_smaller_than_the_window(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    assert (ssim(x, -x) < 1).all()


def test_is_differentiable_and_takes_half_precision() -> None:
    x = photograph()
    y = (0.9 * x).requires_grad_()
    ssim(x, y).sum().backward()
    assert y.grad is not None and y.grad.isfinite().all()
    assert ssim(x.half(), y.detach().half()).item() == pytest.approx(ssim(x, y).item(), abs=1e-3)
