import math

import numpy as np
import pytest
import torch
from refusals import refuses
from scipy import ndimage

from vaekit.metrics.image.banding import banding
from vaekit.metrics.image.borders import border_error
from vaekit.metrics.image.clipping import clipped_gained, plateau
from vaekit.metrics.image.droplets import droplets
from vaekit.metrics.image.fried import fried_pixels, median3x3
from vaekit.metrics.image.grid import find_grid, grid
from vaekit.metrics.image.levels import LOWEST, level_curve
from vaekit.metrics.image.sharpness import blur_sigma
from vaekit.testcards.dead_leaves import dead_leaves


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return 0.7 * dead_leaves(1, (192, 256), torch.Generator().manual_seed(3))


def eight_bit(x: torch.Tensor) -> torch.Tensor:
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest"))


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert grid(image, image).item() == banding(image, image).item() == 0
    assert fried_pixels(image, image).item() == droplets(image, image).item() == 0
    assert border_error(image, image).item() == 0
    assert clipped_gained(image, image).abs().sum() == 0
    assert blur_sigma(image, image).item() == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 1.5])
def test_the_sigma_of_a_blur(image: torch.Tensor, sigma: float) -> None:
    assert blur_sigma(image, eight_bit(gaussian(image, sigma))).item() == pytest.approx(sigma, rel=0.15)


def test_noise_and_contrast_are_no_blur(image: torch.Tensor) -> None:
    noise = 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert blur_sigma(image, 0.8 * image + noise).item() == pytest.approx(0, abs=0.2)
    assert blur_sigma(image, 2 * image - gaussian(image, 1)).item() < -0.2
    assert math.isnan(blur_sigma(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).item())


@pytest.mark.parametrize("factor", [4, 8, 16, 12])
def test_the_amplitude_of_a_grid_of_any_factor(image: torch.Tensor, factor: int) -> None:
    wave = 2 / 127.5 * torch.cos(torch.arange(256) * 2 * math.pi / factor)
    assert grid(image, image + wave, factor).item() == pytest.approx(2, rel=0.02)
    assert grid(image, gaussian(image, 1), factor).item() < 0.5


def test_the_period_is_the_shortest_that_explains_it() -> None:
    for period in (8, 16, 32):
        lines = (torch.arange(256) % period == 0).float().expand(256, 256)
        found = find_grid(torch.fft.rfft2(3 * lines), (256, 256))
        assert found.period == period
        assert found.amplitude == pytest.approx(math.sqrt(2) * 3 * lines.std(correction=0).item(), rel=0.01)


def test_too_small_for_a_grid_and_a_wrong_factor() -> None:
    x = torch.zeros(1, 3, 24, 24)
    assert grid(x, x).isnan().all()
    with refuses(ValueError, "2"):
        grid(x, x, 1)


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_levels_lost_to_fewer_bits(bits: int) -> None:
    x = dead_leaves(1, (192, 256), torch.Generator().manual_seed(3))
    steps = 2**bits - 1
    y = ((x + 1) / 2 * steps).round() / steps * 2 - 1
    assert banding(x, y).item() == pytest.approx(100 * (1 - 2**bits / 256), abs=6)
    assert banding(x, 0.8 * x).item() < 20


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


def test_what_became_of_each_level() -> None:
    x = torch.arange(256).float().repeat(20, 1)
    curve = level_curve(x, (x * 0.5).floor())
    assert curve.median[-LOWEST : 256 - LOWEST].tolist() == [level // 2 for level in range(256)]
    assert curve.agreed[-LOWEST : 256 - LOWEST].tolist() == [1] * 256
    assert curve.count[-LOWEST : 256 - LOWEST].tolist() == [20] * 256


def test_plateaus_of_both_ends() -> None:
    x = torch.arange(256).float().repeat(20, 1)
    curve = level_curve(x, x.clamp(30, 200))
    high, low = plateau(curve, True), plateau(curve, False)
    # Levels within 1 of a plateau belong to it.
    assert (high.start, high.level, high.depth) == (199, 200, 56)
    assert (low.start, low.level, low.depth) == (31, 30, 31)
    assert high.share == pytest.approx(100 * 52 / 256)
    assert plateau(level_curve(x, x), True).share == 0


def test_clipped_shares_are_those_gained() -> None:
    x = torch.linspace(-1, 1, 100).expand(1, 3, 4, 100)
    shadows, highlights = clipped_gained(x, (x + 0.2).clamp(-1, 1))[0].tolist()
    assert shadows == 0 and highlights == pytest.approx(9, abs=1)


def test_corners_and_sides(image: torch.Tensor) -> None:
    corner, side = image.clone(), image.clone()
    corner[..., -32:, -32:] -= 30 / 127.5
    side[..., :12] += 20 / 127.5
    assert border_error(image, corner).item() == pytest.approx(30, abs=4)
    assert border_error(image, side).item() > 8
    assert border_error(image, gaussian(image, 1)).item() < 4
    assert border_error(image[..., :64, :64], corner[..., :64, :64]).item() == 0


def test_droplets_are_counted(image: torch.Tensor) -> None:
    i, j = torch.arange(192).view(-1, 1), torch.arange(256)
    y = image.clone()
    for top, left in ((50, 60), (100, 200), (140, 90)):
        y += 0.6 * torch.exp(-((i - top) ** 2 + (j - left) ** 2) / 32)
    assert droplets(image, y).item() * 192 * 256 / 1e6 == pytest.approx(3, abs=1.01)
    assert droplets(image, gaussian(image, 1)).item() == 0
