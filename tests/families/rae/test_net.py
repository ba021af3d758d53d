"""Parity with diffusers' AutoencoderRAE, and the pieces of the network."""

import copy
from pathlib import Path
from typing import Any

import torch
from one_frame import image
from torch import Tensor, nn

from vaekit import load
from vaekit.families.rae.net import RAEConfig, Statistics, build, position_embeddings
from vaekit.runtime.engine import Engine

CONFIG = RAEConfig(3, 64, 1, 96, 14, 4, 4, 32, 1, 48, 4, 16, 4, (64, 4, 4))


def check(theirs: Any, encode: Any, decode: Any, side: int) -> None:
    """diffusers takes pixels in 0..1, and applies its scaling factor itself."""
    factor, x = theirs.config.scaling_factor, image(3, side, side)
    latents = theirs.encode((x + 1) / 2).latent
    assert latents.std() > 0.05
    assert (encode(x).mean * factor - latents).abs().max() <= 1e-4
    expected = theirs.decode(latents).sample * 2 - 1
    assert expected.std() > 0.05
    assert (decode(latents / factor) - expected).abs().max() <= 1e-4


@torch.no_grad()
def test_equal_to_diffusers(pair: tuple[nn.Module, Path]) -> None:
    """Also through the engine, whose latents may be in parts."""
    theirs, folder = pair
    ours = load(folder)
    side = ours.config.grid * ours.config.patch
    check(theirs, ours.encode, ours.decode, side)
    engine = Engine(load(folder))
    check(theirs, engine.encode, engine.decode, side)


def random_statistics() -> Statistics:
    statistics = Statistics(CONFIG)
    statistics.latents_mean.normal_()
    statistics.latents_std.uniform_(0.5, 1.5)
    return statistics


@torch.no_grad()
def test_statistics_are_inverted() -> None:
    torch.manual_seed(0)
    statistics, x, z = random_statistics(), torch.rand(1, 3, 8, 8), torch.randn(2, 64, 4, 4)
    torch.testing.assert_close(statistics.features_to_pixels(statistics.pixels_to_features(x)), x)
    torch.testing.assert_close(statistics.denormalized(statistics.normalized(z)), z)


@torch.no_grad()
def test_both_halves_use_the_statistics_of_the_decoder() -> None:
    """Also after they are copied, or moved to another dtype."""
    torch.manual_seed(0)
    both = nn.ModuleList(build(CONFIG))
    x = image(3, 64, 64)
    before = both[0](x)
    assert not any("statistics" in key for key in both[0].state_dict())
    copied = copy.deepcopy(both).double()
    copied[1].statistics.latents_std.fill_(0.5)
    assert torch.equal(both[0](x), before)
    torch.testing.assert_close(copied[0](x.double()).float(), before * 2, rtol=1e-3, atol=1e-3)


def test_position_embeddings_are_waves_of_columns_and_of_rows() -> None:
    embeddings = position_embeddings(8, 2).view(2, 2, 8)
    assert torch.equal(embeddings[0, 0], torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1]))
    first, second = embeddings[0, 1], embeddings[1, 0]
    expected = torch.tensor(8.0).sin()
    assert torch.isclose(first[0], expected) and first[4] == 0
    assert torch.isclose(second[4], expected) and second[0] == 0
    assert isinstance(embeddings, Tensor)


def test_the_geometry_of_a_config() -> None:
    assert (CONFIG.geometry.size, CONFIG.geometry.latent_shape, CONFIG.blocks) == ((64, 64), (64, 4, 4), 1)
