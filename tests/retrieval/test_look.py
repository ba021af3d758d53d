"""`look` on small untrained VAEs: the laws of embeddings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaekit.checkpoints.latent_files import origin_of
from vaekit.errors import BadItem
from vaekit.families.kl.net import KLConfig
from vaekit.families.parts.net import GaussianPart, PartsConfig
from vaekit.nets.column_likelihoods import ColumnsPart
from vaekit.nets.likelihoods import BernoulliPart, TokensPart
from vaekit.nets.mlp import MLPConfig
from vaekit.nets.sequence import SequenceConfig
from vaekit.normalization import LatentNormalization
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.latent_encoder import LatentEncoder
from vaekit.retrieval.look import Look, local_contrast, windows
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.vae import VAE

RANDOM = torch.Generator().manual_seed(0)
OTHERS = {
    "rows": (
        PartsConfig(MLPConfig((5,), 3, (8,)), GaussianPart(), ColumnsPart(("normal:5",))),
        torch.randn(6, 5, generator=RANDOM),
    ),
    "sentences": (
        PartsConfig(SequenceConfig(5, 6, 3, 8, 4), GaussianPart(), TokensPart()),
        torch.randint(5, (6, 6), generator=RANDOM),
    ),
    "images of one size": (
        PartsConfig(MLPConfig((1, 12, 12), 3, (8,)), GaussianPart(), BernoulliPart()),
        torch.rand(6, 1, 12, 12, generator=RANDOM) * 2 - 1,
    ),
}
"""Configs and items of VAEs with one global latent."""
RandomVAE = Callable[[Any, LatentNormalization | None], VAE]


def look_of(vae: VAE, batch: int = 1) -> Look:
    return Look(LatentEncoder(Engine(vae, Plan(device="cpu", backend="torch", batch_size=batch)), origin_of(vae)))


def images(count: int, height: int = 40, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_vectors_of_images_of_any_size_have_unit_length(random_vae: RandomVAE, small_kl: KLConfig) -> None:
    look = look_of(random_vae(small_kl, None))
    assert isinstance(look, Embedding)
    for x in (images(2), images(1, 1, 1), images(1, 100, 30)):
        vectors = look(x)
        assert vectors.shape == (len(x), look.dimension)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(x)))


def test_a_vector_does_not_depend_on_the_batch(random_vae: RandomVAE, small_kl: KLConfig) -> None:
    vae, x = random_vae(small_kl, LatentNormalization((0.5,), (0.25,))), images(5)
    expected = torch.cat([look_of(vae)(item) for item in x.split(1)])
    torch.testing.assert_close(look_of(vae, batch=3)(x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_global_latent_is_the_vector(random_vae: RandomVAE, kind: str) -> None:
    config, x = OTHERS[kind]
    vae = random_vae(config, LatentNormalization((0.0,), (2.0,)))
    look = look_of(vae, batch=2)
    assert look.dimension == 3
    latents = vae.encode(x).mode.flatten(1)
    torch.testing.assert_close(look(x), torch.nn.functional.normalize(latents, dim=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [1, 2])
def test_an_image_finds_itself_and_its_copy_of_half_the_size(
    random_vae: RandomVAE, small_kl: KLConfig, patch: int
) -> None:
    look = look_of(random_vae(small_kl, LatentNormalization((0.5,), (0.25,), patch)))
    x = images(6, 64, 64)
    smooth = torch.nn.functional.interpolate(images(6, 4, 4), (64, 64), mode="bicubic").clamp(-1, 1)
    for original in (x, smooth):
        vectors = look(original)
        assert (vectors @ vectors.T).argmax(dim=1).tolist() == list(range(6))
    half = torch.nn.functional.interpolate(smooth, (32, 32), mode="bicubic", antialias=True)
    assert (look(half) @ look(smooth).T).argmax(dim=1).tolist() == list(range(6))


def test_the_identity_follows_the_weights(random_vae: RandomVAE, small_kl: KLConfig) -> None:
    vae = random_vae(small_kl, None)
    first = look_of(vae).identity
    assert first == look_of(random_vae(small_kl, None), batch=2).identity
    with torch.no_grad():
        next(vae.parameters())[0] += 0.01
    assert look_of(vae).identity != first


def test_latents_that_are_not_finite_are_refused(random_vae: RandomVAE, small_kl: KLConfig) -> None:
    x = images(3)
    x[1, 0, 0, 0] = torch.nan
    with pytest.raises(BadItem):
        look_of(random_vae(small_kl, None))(x)


@pytest.mark.parametrize(("positions", "count"), [(8, 3), (4, 6), (1, 4), (64, 3)])
def test_windows_average_and_follow_their_places(positions: int, count: int) -> None:
    weights = windows(positions, count)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(count))
    ramp = weights @ torch.linspace(-1, 1, positions) if positions > 1 else weights.sum(dim=1).cumsum(0)
    assert (ramp.diff() > 0).all()
    torch.testing.assert_close(weights.flip(0, 1), weights)


def test_contrast_is_that_of_the_place() -> None:
    z = torch.zeros(1, 1, 24, 24)
    z[..., :12] = torch.tensor([1.0, -1.0]).repeat(6)
    contrast = local_contrast(z)[0, 0]
    torch.testing.assert_close(contrast[:, -1], torch.full((6,), 0.2).log(), atol=0.01, rtol=0)
    torch.testing.assert_close(contrast[:, 0], torch.full((6,), 2.2).log(), atol=0.1, rtol=0)
