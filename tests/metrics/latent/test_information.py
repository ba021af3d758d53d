"""Mutual information between latents and items."""

import math

import pytest
import torch

from vaekit.metrics.latent.information import active_units, mutual_information


def test_distinct_posteriors_have_the_logarithm_of_their_number() -> None:
    mean = 100 * torch.arange(300.0).unsqueeze(1)
    log_variance = torch.zeros(300, 1)
    found = mutual_information(mean + torch.randn(300, 1), mean, log_variance)
    assert found.item() == pytest.approx(math.log(300), abs=1e-5)


def test_a_gaussian_channel_has_its_capacity() -> None:
    """x ~ N(0, 1) seen through noise of variance v: I = 1/2 log(1 + 1/v)."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4000, 1, generator=generator)
    for variance in (1.0, 0.25):
        z = mean + math.sqrt(variance) * torch.randn(4000, 1, generator=generator)
        found = mutual_information(z, mean, torch.full((4000, 1), math.log(variance)))
        assert found.item() == pytest.approx(0.5 * math.log(1 + 1 / variance), abs=0.03)


def test_units_are_active_above_a_variance() -> None:
    assert active_units(torch.tensor([0.0099, 0.0101, 1.0])) == 2
