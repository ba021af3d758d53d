"""Dead leaves have the statistics of photographs, as far as pixels tell, and are the same from the same seed."""

from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor

from vaekit.testcards.dead_leaves import dead_leaves, one_over_f


@pytest.fixture(scope="module")
def leaves() -> Tensor:
    return dead_leaves(8, (128, 128), Generator().manual_seed(0))


def spectral_slope(images: Tensor) -> float:
    """The exponent of the power spectrum of brightness: -2 for an amplitude of 1/f."""
    side = images.shape[-1]
    window = torch.hann_window(side)
    gray = images.mean(dim=1)
    power = torch.fft.fft2((gray - gray.mean(dim=(1, 2), keepdim=True)) * window * window[:, None]).abs().square()
    frequency = torch.fft.fftfreq(side) * side
    rings = (frequency[:, None].square() + frequency.square()).sqrt().round().long()
    numbers = torch.arange(3, side // 3)
    profile = torch.stack([power.mean(dim=0)[rings == number].mean() for number in numbers]).log()
    across = numbers.float().log() - numbers.float().log().mean()
    return ((profile * across).sum() / across.square().sum()).item()


def test_the_same_seed_gives_the_same_images(leaves: Tensor) -> None:
    assert torch.equal(leaves, dead_leaves(8, (128, 128), Generator().manual_seed(0)))
    assert not torch.equal(leaves, dead_leaves(8, (128, 128), Generator().manual_seed(1)))


@pytest.mark.parametrize(("count", "size"), [(1, (16, 16)), (3, (20, 33)), (2, (64, 16))])
def test_any_number_and_size(count: int, size: tuple[int, int]) -> None:
    images = dead_leaves(count, size, Generator().manual_seed(0))
    assert images.shape == (count, 3, *size)
    assert images.dtype == torch.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1


@pytest.mark.parametrize("size", [(8, 64), (12, 12), (1, 1)])
def test_a_small_image_is_a_larger_one_averaged(size: tuple[int, int]) -> None:
    drawn = max(size[0], 16), max(size[1], 16)
    small, large = (dead_leaves(2, each, Generator().manual_seed(3)) for each in (size, drawn))
    assert small.shape == (2, 3, *size)
    torch.testing.assert_close(small.mean((2, 3)), large.mean((2, 3)), atol=0.1, rtol=0)


def test_contrast_colors_and_scales_are_those_of_photographs(leaves: Tensor) -> None:
    # Kodak: mean -0.13 -0.17 -0.31, deviation 0.39 to 0.42, neighbors 0.068 apart at 256 pixels, correlations 0.74
    # to 0.88, slope -2.2 (docs/measuring.md).
    values = leaves.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(dim=1), torch.tensor([-0.13, -0.17, -0.31]), atol=0.1, rtol=0)
    assert 0.3 < values.std(dim=1).min() < values.std(dim=1).max() < 0.5
    red, green, blue = values.corrcoef()
    assert 0.6 < blue[0] < 0.95
    assert 0.6 < green[0] < 0.95
    assert red[0] == pytest.approx(1)
    assert 0.05 < (leaves[..., 1:] - leaves[..., :-1]).abs().mean() < 0.1
    assert -3 < spectral_slope(leaves) < -2


def test_a_photograph_has_such_a_slope_and_noise_has_not() -> None:
    with Image.open(str(files("sklearn.datasets.images") / "china.jpg")) as image:
        pixels = np.asarray(image.convert("RGB").resize((256, 256)), dtype=np.float32)
    photograph = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    assert -3 < spectral_slope(photograph) < -1.8
    assert abs(spectral_slope(torch.rand(4, 3, 128, 128, generator=Generator().manual_seed(0)))) < 0.2


def test_the_texture_is_one_over_f() -> None:
    field = one_over_f((128, 128), Generator().manual_seed(0))
    assert field.std() == pytest.approx(1)
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert spectral_slope(field.expand(1, 3, -1, -1)) == pytest.approx(-2, abs=0.3)


def test_pairs_are_opposites_around_the_mean(leaves: Tensor) -> None:
    tints = leaves.mean(dim=(2, 3)).unflatten(0, (4, 2))
    apart, together = (tints[:, 0] - tints[:, 1]).abs().mean(), tints.mean(dim=1).std(dim=0).mean()
    assert together < apart
