"""A small VAE, pictures that it can learn, and a perceptual distance with random weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from vaekit.distributions import Always, DiagonalGaussian, Laplace, StandardNormal
from vaekit.metrics.lpips import LPIPS
from vaekit.nets.kl import KLConfig, build
from vaekit.vae import VAE


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
def smooth_pictures() -> Callable[[int, int, Generator], Tensor]:
    """A number of square pictures of low-frequency noise, (b, 3, size, size) in [-1, 1]."""

    def draw(count: int, size: int, generator: Generator) -> Tensor:
        coarse = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
        return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")

    return draw


@pytest.fixture(scope="session")
def lpips(lpips_tensors: dict[str, Tensor]) -> LPIPS:
    return LPIPS.from_tensors(lpips_tensors)
