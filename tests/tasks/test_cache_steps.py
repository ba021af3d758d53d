"""Steps of coded latents: equal cost in each channel, and no more than is allowed."""

import math

import pytest
import torch
from torch import Tensor

from vaekit.tasks import cache_steps
from vaekit.tasks.cache_steps import (
    LARGEST_STEP,
    LOSS,
    UNMEASURED_STEP,
    mean_error,
    next_factor,
    searched_steps,
    sensitivity,
    spread_of,
)
from vaekit.tasks.model import OpenModel


@pytest.fixture
def pairs(model: OpenModel) -> list[tuple[Tensor, Tensor]]:
    """Three images and their latents; the images are near to what is decoded, so that rounding counts."""
    generator = torch.Generator().manual_seed(0)
    latents = [model.engine.encode(torch.rand(1, 3, 96, 96, generator=generator) * 2 - 1).mode for _ in range(3)]
    return [(model.engine.decode(z) + 0.02 * torch.randn(1, 3, 96, 96, generator=generator), z) for z in latents]


def test_steps_cost_as_much_as_is_allowed(model: OpenModel, pairs: list[tuple[Tensor, Tensor]]) -> None:
    spread = spread_of([z for _, z in pairs])
    steps = searched_steps(model.engine, pairs, spread)
    exact = mean_error(model.engine, pairs)
    rounded = mean_error(model.engine, pairs, torch.tensor(steps.mean, dtype=torch.float64))
    loss = 10 * math.log10(rounded / exact)
    assert steps.items == 3 and loss == pytest.approx(steps.loss, abs=1e-3)
    at_most = (torch.tensor(steps.mean) >= 0.999 * LARGEST_STEP * spread).all()
    assert loss <= LOSS and (loss > 0.7 * LOSS or at_most)


def test_steps_are_smaller_where_the_decoder_is_sensitive(
    model: OpenModel, pairs: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = spread_of([z for _, z in pairs])
    gain = sensitivity(model.engine, [z for _, z in pairs[:2]], spread)
    assert (gain > 0).all()
    monkeypatch.setattr(cache_steps, "LARGEST_STEP", 1e9)
    steps = torch.tensor(searched_steps(model.engine, pairs, spread).mean, dtype=torch.float64)
    cost = gain * steps**2
    assert cost.max() / cost.min() == pytest.approx(1.0, rel=1e-3)


def test_sensitivity_is_what_noise_changes(model: OpenModel, pairs: list[tuple[Tensor, Tensor]]) -> None:
    spread = spread_of([z for _, z in pairs])
    gain = sensitivity(model.engine, [pairs[0][1]], spread)
    z = pairs[0][1]
    noise = 0.02 * float(spread[1]) * torch.randn(z[:, 1].shape, generator=torch.Generator().manual_seed(7))
    moved = z.clone()
    moved[:, 1] += noise
    change = (model.engine.decode(moved) - model.engine.decode(z)).square().mean() / noise.square().mean()
    assert float(gain[1]) == pytest.approx(float(change), rel=0.5)


def test_without_an_error_to_compare_with_steps_follow_from_the_spread(
    model: OpenModel, pairs: list[tuple[Tensor, Tensor]]
) -> None:
    perfect = [(model.engine.decode(z), z) for _, z in pairs]
    spread = spread_of([z for _, z in pairs])
    steps = searched_steps(model.engine, perfect, spread)
    assert steps.items == 0 and steps.mean == pytest.approx((UNMEASURED_STEP * spread).tolist())


def test_constant_channels_have_small_steps() -> None:
    varying, constant = torch.randn(1, 1, 8, 8), torch.full((1, 1, 8, 8), 3.0)
    spread = spread_of([torch.cat([varying, constant], 1)])
    assert float(spread[1]) == pytest.approx(float(spread[0]) / 1000)
    assert spread_of([torch.zeros(1, 3), torch.zeros(1, 3)]).tolist() == [1.0, 1.0, 1.0]
    assert spread_of([torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 1.0]])]).tolist() == [1.0, 0.5]


def test_the_search_approaches_what_is_wanted() -> None:
    none, endless = (0.0, 0.0), (math.inf, math.inf)
    assert next_factor((2.0, 0.25), endless, 1.0) == pytest.approx(4.0)
    assert next_factor((2.0, -0.1), endless, 1.0) == 8.0
    assert next_factor(none, (2.0, 4.0), 1.0) == pytest.approx(1.0)
    assert next_factor(none, (2.0, 1e9), 1.0) == next_factor(none, (2.0, math.nan), 1.0) == 0.5
    assert next_factor((1.0, 0.5), (3.0, 2.5), 1.5) == pytest.approx(math.sqrt(5))
    for added in (1.01, 1e9, math.inf, math.nan):
        assert 1.0 < next_factor((1.0, 0.99), (3.0, added), 1.0) < 3.0
