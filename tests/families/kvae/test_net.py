"""Parity with diffusers' AutoencoderKLKVAE on random weights, and the pieces of the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vaekit import load
from vaekit.errors import TooLittleMemory
from vaekit.families.kvae.net import Downsample, KVAEConfig, SpatialNorm, Upsample
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (72, 40), (8, 104)])
def test_equal_to_diffusers(pair: tuple[nn.Module, Path], size: tuple[int, int]) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
    assert expected.mean.std() > 0.05
    torch.testing.assert_close(posterior.mean, expected.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(posterior.log_variance, expected.logvar, rtol=1e-4, atol=1e-4)
    image = theirs.decode(expected.mean).sample
    assert image.std() > 0.05
    torch.testing.assert_close(ours.decode(expected.mean), image, rtol=1e-4, atol=1e-4)


@pytest.mark.nightly
@torch.no_grad()
def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = torch.rand(1, 3, 136, 72, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = theirs.encode(x).latent_dist
    image = theirs.decode(expected.mean).sample
    moments = in_least_memory(ours, lambda engine: engine.encode(x))
    torch.testing.assert_close(moments.mean, expected.mean, rtol=1e-4, atol=1e-4)
    decoded = in_least_memory(ours, lambda engine: engine.decode(expected.mean))
    torch.testing.assert_close(decoded, image, rtol=1e-4, atol=1e-4)


def in_least_memory(vae: VAE, run: Callable[[Engine], Any]) -> Any:
    """What an engine gives in the smallest budget that it accepts."""
    with pytest.raises(TooLittleMemory) as refused:
        run(Engine(vae, Plan(device="cpu", backend="torch", memory=1)))
    return run(Engine(vae, Plan(device="cpu", backend="torch", memory=refused.value.least)))


@torch.no_grad()
def test_a_spatial_norm_scales_and_shifts_by_the_latent() -> None:
    torch.manual_seed(0)
    norm = SpatialNorm(32, 4, enlarge=2)
    x, z = torch.randn(1, 32, 4, 6), torch.randn(1, 4, 2, 3)
    plain = F.group_norm(x, 32, norm.norm_layer.weight, norm.norm_layer.bias, eps=1e-6)
    nearest = z.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(norm(x, z), plain * norm.conv_y(nearest) + norm.conv_b(nearest))


@torch.no_grad()
def test_resolutions_change_by_a_convolution_beside_plain_resampling() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 6, 8)
    down, up = Downsample(4), Upsample(4)
    strided = F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), down.spatial_conv.weight, down.spatial_conv.bias, stride=2)
    torch.testing.assert_close(down(x), down.linear(strided + F.avg_pool2d(x, 2)))
    large = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    same = F.conv2d(F.pad(large, (1, 1, 1, 1), "reflect"), up.spatial_conv.weight, up.spatial_conv.bias)
    torch.testing.assert_close(up(x), up.linear(same + large))


def test_the_geometry_of_a_config() -> None:
    config = KVAEConfig(3, 4, (32, 64, 64), (32, 64, 64), 1, 2)
    assert (config.geometry.factors, config.blocks) == ((4, 4), 6)
