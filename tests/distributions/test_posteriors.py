"""Posteriors: how moments become means and standard deviations."""

import math

import torch

from vaekit.distributions import DiagonalGaussian


def test_standard_deviations_by_a_softplus_and_by_their_logarithm() -> None:
    moments = torch.tensor([[1.0, -2.0, 0.5, -1e4]])[..., None]
    softplus = DiagonalGaussian.from_softplus(moments)
    torch.testing.assert_close(softplus.mean, moments[:, :2])
    torch.testing.assert_close(softplus.std[0, :, 0], torch.tensor([math.log1p(math.exp(0.5)) + 1e-4, 1e-4]))
    logs = DiagonalGaussian.from_log_std(torch.tensor([[1.0, -2.0, 0.5, -0.25]])[..., None].half())
    torch.testing.assert_close(logs.std[0, :, 0], torch.tensor([0.5, -0.25]).exp())
    assert DiagonalGaussian.from_log_std(torch.full((1, 2, 1), 1e9)).std.isfinite().all()
