"""Small things to train on, and a small recipe."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import Always, DiagonalGaussian, Laplace, StandardNormal
from vaekit.families.kl.net import KLConfig, build
from vaekit.metrics.image.lpips import LPIPS
from vaekit.training.data import Stream, Tensors
from vaekit.training.recipe import Recipe
from vaekit.vae import VAE

TABLE: dict[str, Any] = {
    "vae": {
        "family": "parts",
        "net": {"kind": "mlp", "data_shape": [1, 4, 4], "latent_channels": 3, "hidden": [16], "activation": "silu"},
        "posterior": {"kind": "gaussian"},
        "likelihood": {"kind": "bernoulli"},
    },
    "objective": {"terms": {"nll": {"weight": 1}, "kl": {"weight": [[0, 0.0], [64, 1.0]]}}},
    "schedule": {
        "samples": 320,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "warmup_samples": 16,
        "gradient_clip": 10.0,
        "averages": [0.9, 0.5],
    },
}


@pytest.fixture
def table() -> dict[str, Any]:
    """A recipe that takes a blink."""
    import copy

    return copy.deepcopy(TABLE)


@pytest.fixture
def small_recipe(table: dict[str, Any]) -> Recipe:
    return Recipe("small", table)


def stripes() -> Tensor:
    """Sixty images of 4x4 that have something to learn, in {-1, 1}."""
    generator = Generator().manual_seed(0)
    rows = torch.randint(2, (60, 1, 4, 1), generator=generator)
    noise = torch.rand(60, 1, 4, 4, generator=generator) < 0.05
    return ((rows.expand(60, 1, 4, 4) ^ noise.long()) * 2 - 1).float()


@pytest.fixture
def stream() -> Stream:
    return Stream(Tensors(stripes(), flipped), seed=3)


def flipped(images: Tensor, generator: Generator) -> Tensor:
    """Mirrored, or not: something random about a batch."""
    return images.flip(3) if torch.rand((), generator=generator) < 0.5 else images


@pytest.fixture(scope="session")
def smooth_images() -> Callable[[int, int, Generator], Tensor]:
    """A number of square images of low-frequency noise, (b, 3, size, size) in [-1, 1]."""

    def draw(count: int, size: int, generator: Generator) -> Tensor:
        coarse = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
        return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")

    return draw


@pytest.fixture(scope="session")
def fresh_vae(small_kl: KLConfig) -> Callable[[], VAE]:
    """The same random weights at every call."""

    def fresh() -> VAE:
        torch.manual_seed(0)
        encoder, decoder = build(small_kl)
        return VAE(
            encoder,
            DiagonalGaussian.from_moments,
            decoder,
            lambda mean: Laplace(mean, 0.1),
            to_prior=Always(StandardNormal()),
        )

    return fresh


@pytest.fixture(scope="session")
def lpips(lpips_tensors: dict[str, Tensor]) -> LPIPS:
    return LPIPS.from_tensors(lpips_tensors)
