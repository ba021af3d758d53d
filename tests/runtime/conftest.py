"""Small VAEs that every test of the engine may run; none of them may be changed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vaekit.distributions import DiagonalGaussian, Laplace, Normal, Point
from vaekit.families.kl import net as kl
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny import net as tiny
from vaekit.runtime import whole_runner as whole
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]


@pytest.fixture(scope="session")
def vae(small_kl: KLConfig) -> VAE:
    """A KL autoencoder of factor 4 with random weights."""
    torch.manual_seed(0)
    encoder, decoder = kl.build(replace(small_kl, encoder_widths=(16, 16, 32), decoder_widths=(16, 16, 32)))
    return VAE(encoder, DiagonalGaussian.from_moments, decoder, Laplace).eval()


@pytest.fixture(scope="session")
def tiny_vae() -> VAE:
    """A tiny autoencoder of factor 4 with the branch that sees the whole map, whose posterior is a point."""
    torch.manual_seed(0)
    encoder, decoder = tiny.build(tiny.TinyConfig(3, 4, (), (16,) * 3, (16,) * 3, (1, 1, 1), (1, 1, 1), True))
    return VAE(encoder, Point, decoder, Normal).eval()


@pytest.fixture(scope="session")
def images() -> Images:
    """Random images, by their number, height and width."""

    def make(batch: int, height: int, width: int) -> Tensor:
        return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1

    return make


@pytest.fixture(autouse=True)
def in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks here are so small that a CPU would run them whole: slabs are what is tried."""
    monkeypatch.setattr(whole, "LEAST_PRODUCTS", 0)
