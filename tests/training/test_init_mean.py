"""A decoder that begins at the mean of the data."""

from typing import Any

import pytest
import torch

from vaekit.training.init_mean import init_to_mean
from vaekit.training.recipe import Recipe

NETS = [
    {"kind": "mlp", "data_shape": [1, 8, 8], "latent_channels": 2, "hidden": [8]},
    {"kind": "residual", "image_channels": 1, "image_size": 8, "latent_channels": 2, "widths": [8], "blocks": 1},
]


@pytest.mark.parametrize("net", NETS, ids=["mlp", "residual"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "laplace"])
def test_it_says_the_mean_for_any_latent(net: dict[str, Any], likelihood: str, table: dict[str, Any]) -> None:
    table["vae"] |= {"net": net, "likelihood": {"kind": likelihood}}
    torch.manual_seed(0)
    vae = Recipe("x", table).vae()
    items = torch.full((6, 1, 8, 8), 0.6)
    items[:3] = -0.2  # a mean of 0.2 everywhere
    assert init_to_mean(vae, items)
    said = vae.decode(torch.zeros(1, 2, 1, 1))
    assert (said - 0.2).abs().mean() < 0.2
    assert said.mean().item() == pytest.approx(0.2, abs=0.1)


def test_chances_stay_away_from_certainty(table: dict[str, Any]) -> None:
    vae = Recipe("x", table).vae()
    assert init_to_mean(vae, -torch.ones(4, 1, 4, 4))
    assert vae.decoder.out.bias.min() > -5


def test_other_decoders_are_left_alone(table: dict[str, Any]) -> None:
    table["vae"]["likelihood"] = {"kind": "logistic"}
    vae = Recipe("x", table).vae()
    before = vae.decoder.out.bias.clone()
    assert not init_to_mean(vae, torch.zeros(4, 1, 4, 4))
    assert torch.equal(vae.decoder.out.bias, before)
