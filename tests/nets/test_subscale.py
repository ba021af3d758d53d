"""The likelihood of images in interlaced parts."""

import pytest
import torch
from torch import Tensor

from vaekit.distributions import Factorized, Subscale
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.residual import ResidualConfig
from vaekit.nets.subscale import SIDE, SubscaleHead, SubscalePart

NET = ResidualConfig(2, 8, 4, (8,), 1)
PART = SubscalePart(components=2, features=3, width=8, blocks=1)


@pytest.fixture
def head() -> SubscaleHead:
    torch.manual_seed(0)
    made = PART.head(NET)
    assert isinstance(made, SubscaleHead)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return made


@pytest.fixture
def likelihood(head: SubscaleHead) -> Subscale:
    return head(torch.randn(3, PART.features * NET.image_channels, 8, 8))


@pytest.fixture
def x() -> Tensor:
    return torch.randint(0, 256, (3, 2, 8, 8), generator=torch.Generator().manual_seed(0)) / 127.5 - 1


def test_parts_are_pixels_at_one_position_of_squares(head: SubscaleHead, x: Tensor) -> None:
    parts = head.divide(x)
    assert torch.equal(head.join(parts), x)
    corners = [(0, 0), (1, 1), (0, 1), (1, 0)]
    for part, (row, column) in zip(parts, corners, strict=True):
        assert torch.equal(part, x[..., row::SIDE, column::SIDE])


def test_factors_depend_on_earlier_parts_only(head: SubscaleHead, likelihood: Subscale, x: Tensor) -> None:
    before = head.divide(likelihood.log_factors(x))
    for changed in range(4):
        parts = head.divide(x)
        parts[changed] = -parts[changed]
        after = head.divide(likelihood.log_factors(head.join(parts)))
        assert all(torch.equal(before[k], after[k]) for k in range(changed))
        assert all(not torch.equal(before[k], after[k]) for k in range(changed, 4))


def test_factors_sum_to_the_log_probability(likelihood: Subscale, x: Tensor) -> None:
    assert isinstance(likelihood, Factorized)
    torch.testing.assert_close(likelihood.log_factors(x).flatten(1).sum(dim=1), likelihood.log_prob(x))


def test_probabilities_of_levels_sum_to_one(likelihood: Subscale, x: Tensor) -> None:
    levels = torch.linspace(-1, 1, 256)
    total = torch.zeros_like(x)
    for level in levels:
        # Of one part at a time, as the others are conditions.
        for part in range(4):
            parts = likelihood.model.divide(x)
            parts[part] = torch.full_like(parts[part], float(level))
            factors = likelihood.model.divide(likelihood.log_factors(likelihood.model.join(parts)).exp())
            kept = [each if number == part else torch.zeros_like(each) for number, each in enumerate(factors)]
            total += likelihood.model.join(kept)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-4, atol=1e-4)


def test_samples_and_mode_are_images(likelihood: Subscale) -> None:
    one, same = (likelihood.sample(torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, same) and one.shape == likelihood.mode.shape == (3, 2, 8, 8)
    levels = (one + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    assert likelihood.log_prob(one).isfinite().all() and likelihood.mode.abs().max() <= 1 + 1e-6


def test_settings_that_make_no_sense_are_refused() -> None:
    for fault in ({"components": 0}, {"features": 0}, {"width": 0}, {"scale": 0.0}, {"blocks": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            SubscalePart(**fault)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="even sides"):
        PART.head(MLPConfig((1, 9, 9), 4, (8,)))
