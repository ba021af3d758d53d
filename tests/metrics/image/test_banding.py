"""Levels lost to fewer bits."""

import pytest
import torch

from vaekit.metrics.image.banding import banding, comb, staircase
from vaekit.testcards.dead_leaves import dead_leaves


def test_nothing_is_found_between_equal_images(image: torch.Tensor) -> None:
    assert banding(image, image).item() == 0


@pytest.fixture(scope="module")
def card() -> torch.Tensor:
    return dead_leaves(1, (192, 256), torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_levels_lost_to_fewer_bits(bits: int, card: torch.Tensor) -> None:
    x = card
    steps = 2**bits - 1
    y = ((x + 1) / 2 * steps).round() / steps * 2 - 1
    assert banding(x, y).item() == pytest.approx(100 * (1 - 2**bits / 256), abs=6)
    assert banding(x, 0.8 * x).item() < 20


@pytest.mark.parametrize("bits", [4, 5, 6])
@pytest.mark.parametrize("level", [0.5, 1.0, 2.0])
def test_noise_does_not_hide_lost_levels(bits: int, level: float, card: torch.Tensor) -> None:
    x, generator = card, torch.Generator().manual_seed(3)
    steps = 2**bits - 1
    y = ((x + 1) / 2 * steps).round() / steps * 2 - 1 + level / 127.5 * torch.randn(x.shape, generator=generator)
    assert banding(x, y.clamp(-1, 1)).item() == pytest.approx(100 * (1 - 2**bits / 256), abs=6)
    assert banding(x, x + level / 127.5 * torch.randn(x.shape, generator=generator)).item() < 20


@pytest.mark.parametrize("step", [4, 8, 255 / 31, 16])
def test_the_step_of_a_staircase(step: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(90_000, generator=generator) * 220 + 15
    noise = 2 * torch.randn(90_000, generator=generator)
    assert staircase(x, (x / step).round() * step + noise) == pytest.approx(step, rel=0.03)
    bent = 255 * (x / 255) ** 1.2
    assert staircase(x, bent + noise) == staircase(x, torch.where(x > 190, 250.0, x) + noise) == 1


def test_a_comb_needs_no_original_with_the_same_pixels() -> None:
    """A decoder's own errors are larger than the steps to which its result was rounded."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(90_000, generator=generator) * 220 + 15
    wrong = x + 10 * torch.randn(90_000, generator=generator)
    banded = (wrong / 8).round() * 8 + torch.randn(90_000, generator=generator)
    counts = [torch.bincount(each.round().clamp(0, 255).int(), minlength=256) for each in (x, wrong, banded)]
    assert staircase(x, banded) == 1
    assert comb(counts[0], counts[2]) == pytest.approx(8, rel=0.03)
    assert comb(counts[0], counts[1]) == comb(counts[2], counts[2]) == 1
