"""`latents.regression`: linear and curved properties, held-out scores, gradients."""

import math

import pytest
import torch

from vaekit.latents.regression import fit_regression
from vaekit.latents.targets import property_target


def latents(count: int, d: int = 4) -> torch.Tensor:
    return torch.randn(count, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_linear_property_is_found_with_its_gradient() -> None:
    x = latents(200)
    found = fit_regression(x, property_target("p", (3 * x[:, 0] - x[:, 2] + 5).tolist()))
    u = torch.zeros(2, 4, dtype=torch.float64).requires_grad_()
    values = found(u)
    (gradient,) = torch.autograd.grad(values.sum(), u)
    assert found.linear and found.r2 == pytest.approx(1.0, abs=1e-6) and found.items == 200
    torch.testing.assert_close(values.detach(), torch.full_like(values, 5.0), rtol=0, atol=1e-4)
    wanted = torch.tensor([[3.0, 0.0, -1.0, 0.0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-4)


def test_a_curved_property_needs_more_than_a_line() -> None:
    x = latents(600)
    y = x.square().sum(dim=1)
    found = fit_regression(x, property_target("p", y.tolist()))
    assert not found.linear and found.r2 is not None and found.r2 > 0.8
    new = torch.randn(100, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error = (found(new) - new.square().sum(dim=1)).square().mean() / new.square().sum(dim=1).var()
    assert error < 0.3


def test_items_without_a_value_are_left_out_and_noise_is_not_explained() -> None:
    x = latents(300)
    y = torch.randn(300, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y[::3] = math.nan
    found = fit_regression(x, property_target("p", y.tolist()))
    assert found.items == 200 and found.r2 is not None and found.r2 < 0.2


def test_too_few_items_have_no_score() -> None:
    x = latents(4)
    assert fit_regression(x, property_target("p", [0.0, 1.0, 2.0, 4.0])).r2 is None
