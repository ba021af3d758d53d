"""Samplers, against flows whose solution is known."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vaekit.diffusion.samplers import Sampling, follow, noised, start_of, time_grid

MEAN, STD = 2.0, 0.5


def gaussian_velocity(x: Tensor, t: Tensor) -> Tensor:
    """The velocity of the flow from N(MEAN, STD^2) to N(0, 1): E[noise - data | x_t = x] of independent Gaussians."""
    t = t.view(-1, *[1] * (x.dim() - 1))
    variance = (1 - t) ** 2 * STD**2 + t**2
    centered = x - (1 - t) * MEAN
    return (t - (1 - t) * STD**2) / variance * centered - MEAN


def error_after(steps: int, sampler: str) -> float:
    """The largest error of the flow of points, whose exact end is MEAN + STD * noise."""
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    x = follow(gaussian_velocity, noise, time_grid(steps).double(), sampler)
    return (x - (MEAN + STD * noise)).abs().max().item()


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_errors_fall_with_the_order_of_the_sampler(sampler: str, order: int) -> None:
    errors = [error_after(steps, sampler) for steps in (32, 64, 128)]
    observed = [math.log2(before / after) for before, after in pairwise(errors)]
    assert all(rate == pytest.approx(order, abs=0.2) for rate in observed), errors


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_samples_have_the_moments_of_the_data(sampler: str) -> None:
    noise = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    x = follow(gaussian_velocity, noise, time_grid(200, shift=2.0), sampler)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, abs=0.02)


def test_estimates_of_the_data_become_the_result() -> None:
    """On a straight path every estimate is the result."""
    data, noise = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.25]])
    seen: list[Tensor] = []
    end = follow(lambda *_: noise - data, noise, time_grid(5), "euler", lambda x, _: seen.append(x))
    assert len(seen) == 5
    for each in seen:
        torch.testing.assert_close(each, data)
    torch.testing.assert_close(end, data)


def test_a_start_between_leaves_out_the_first_steps() -> None:
    assert time_grid(10, first=start_of(0.3, 10)).tolist() == pytest.approx([0.3, 0.2, 0.1, 0])
    assert time_grid(10, 3.0)[1:-1].min() > time_grid(10)[1:-1].min()
    x, noise = torch.ones(2, 3), torch.zeros(2, 3)
    torch.testing.assert_close(noised(x, noise, 0.25), torch.full((2, 3), 0.75))


def test_no_steps_leave_an_item_as_it_is() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(follow(gaussian_velocity, x, time_grid(4, first=4)), x)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"sampler": "leap"}, {"guidance": -1.0}, {"guidance": math.nan}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]
