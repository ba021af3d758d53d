"""Parity with diffusers' AutoencoderOobleck on random weights."""

from pathlib import Path

import pytest
import torch
from random_weights import waveform
from torch import nn

from vaekit import load
from vaekit.families.oobleck.net import OobleckConfig, build


@torch.no_grad()
@pytest.mark.parametrize("positions", [1, 3])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], positions: int) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = waveform(ours.geometry.channels, positions * ours.geometry.factors[0])
    expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
    assert expected.mean.std() > 0.05
    assert posterior.mean.shape == (2, 4, positions)
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.std, expected.std, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, expected.logvar, rtol=1e-4, atol=1e-4)
    sound = theirs.decode(expected.mean).sample
    assert sound.std() > 0.01
    torch.testing.assert_close(ours.decode(expected.mean), sound, rtol=1e-5, atol=1e-5)


def test_weights_that_are_not_normalized_are_those_of_the_same_network() -> None:
    """A file whose weight normalization was removed: norms and directions give the plain weights."""
    torch.manual_seed(0)
    config = OobleckConfig(1, 2, (4, 6), (8, 4), (4,), True, 0)
    normed = build(config)
    plain = build(OobleckConfig(1, 2, (4, 6), (8, 4), (4,), False, 0))
    x = waveform(1, 40)
    with torch.no_grad():
        for ours, other in zip(normed, plain, strict=True):
            weights = ours.state_dict()
            for key in [key for key in weights if key.endswith("weight_g")]:
                weights[key].mul_(1.5)
                direction = weights.pop(key.replace("_g", "_v"))
                norm = direction.flatten(1).norm(dim=1).view(-1, 1, 1)
                weights[key.replace("_g", "")] = direction / norm * weights.pop(key)
            other.load_state_dict(weights)
        encoded = normed[0](x)
        torch.testing.assert_close(plain[0](x), encoded)
        torch.testing.assert_close(plain[1](encoded[:, :2]), normed[1](encoded[:, :2]))


def test_odd_strides_and_missing_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        OobleckConfig(1, 2, (4, 6), (6, 4), (3,), True, 0)
    with pytest.raises(ValueError, match="strides"):
        OobleckConfig(1, 2, (4, 6), (6, 4, 4), (2,), True, 0)
    with pytest.raises(ValueError, match="strides"):
        OobleckConfig(1, 2, (4,), (4,), (), True, 0)


def test_the_geometry_of_a_config() -> None:
    config = OobleckConfig(2, 64, (8,) * 6, (8,) * 6, (2, 4, 4, 6, 10), True, 48_000)
    assert config.geometry.factors == (1920,)
    assert (config.geometry.channels, config.geometry.latent_channels, config.blocks) == (2, 64, 15)
