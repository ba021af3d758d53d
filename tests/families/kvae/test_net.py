"""Parity with diffusers' AutoencoderKLKVAE on random weights, and the files between them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vaekit import load
from vaekit.errors import TooLittleMemory
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


@torch.no_grad()
def test_the_engine_in_the_least_memory_equals_diffusers(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    ours = load(folder)
    x = torch.rand(1, 3, 264, 136, generator=torch.Generator().manual_seed(0)) * 2 - 1
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
