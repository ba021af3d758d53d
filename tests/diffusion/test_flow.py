"""Times and paths of rectified flows."""

import math

import pytest
import torch

from vaekit.diffusion.flow import REFERENCE_DIMENSION, Times, on_path, shifted, time_shift


def test_the_shift_is_the_square_root_of_the_dimension() -> None:
    assert time_shift(REFERENCE_DIMENSION) == 1
    assert time_shift(9 * REFERENCE_DIMENSION) == pytest.approx(3)
    assert time_shift(16 * 64 * 64) == pytest.approx(4)


def test_small_latents_are_not_shifted_towards_data() -> None:
    assert [time_shift(dimension) for dimension in (1, 64, 784)] == [1, 1, 1]


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_shift_keeps_the_ends_and_multiplies_the_odds(shift: float) -> None:
    """logit(t') = logit(t) + log(shift)."""
    t = torch.linspace(0, 1, 11)
    moved = shifted(t, shift)
    assert moved[0] == 0 and moved[-1] == 1
    torch.testing.assert_close(torch.logit(moved[1:-1]) - torch.logit(t[1:-1]), torch.full((9,), math.log(shift)))


def test_times_are_logit_normal() -> None:
    t = Times(mean=0.5, std=2.0, shift=3.0).sample(20_000, torch.Generator().manual_seed(0))
    assert t.min() >= 0 and t.max() <= 1
    logits = torch.logit(t.double(), eps=1e-9)
    assert logits.mean().item() == pytest.approx(0.5 + math.log(3), abs=0.05)
    assert logits.std().item() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("wrong", [{"std": -1.0}, {"shift": 0.0}, {"mean": math.nan}, {"shift": math.inf}])
def test_a_distribution_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="times"):
        Times(**wrong)


def test_paths_lead_from_data_to_noise() -> None:
    x, noise = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    points = on_path(x, noise, torch.tensor([0.0, 1.0, 0.25]))
    torch.testing.assert_close(points, torch.stack([x[0], noise[1], 0.75 * x[2] + 0.25 * noise[2]]))
