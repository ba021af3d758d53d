"""Latents of items in one size."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from vaekit.checkpoints.latent_files import origin_of
from vaekit.families.kl.net import KLConfig
from vaekit.normalization import LatentNormalization
from vaekit.retrieval.latent_encoder import LatentEncoder, at_size
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE


@pytest.mark.parametrize(("side", "patch"), [(32, 1), (32, 2), (6, 2), (1, 1)])
def test_latents_have_the_stated_shape(
    random_vae: Callable[[Any, LatentNormalization | None], VAE], small_kl: KLConfig, side: int, patch: int
) -> None:
    vae = random_vae(small_kl, LatentNormalization((0.0,), (2.0,), patch))
    encoder = LatentEncoder(Engine(vae, Plan(device="cpu", backend="torch")), origin_of(vae))
    shape = encoder.latent_shape(side)
    assert shape is not None
    assert encoder(torch.zeros(2, 3, 50, 30), side).shape == (2, *shape)


def test_images_of_the_size_stay_and_others_are_resized_as_a_whole() -> None:
    x = torch.zeros(1, 3, 8, 8)
    x[..., :4] = 1
    assert at_size(x, (8, 8)) is x
    small = at_size(x, (4, 2))
    assert small.shape == (1, 3, 4, 2)
    torch.testing.assert_close(small[..., 0], torch.ones(1, 3, 4), atol=0.1, rtol=0)
    assert small.abs().max() <= 1
