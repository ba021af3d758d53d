"""Latents of all kinds through the stack and back: exact, and as small as the ELBO says."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from coded_images import SIDE, as_items, gray_images, image_vae
from torch import Tensor

from vaekit.codec.bit_stack import BitStack
from vaekit.codec.bits_back import pop_items, push_items
from vaekit.codec.coder import Coder
from vaekit.codec.latents import CodeLatents, encoded, latent_grid, latents_of
from vaekit.codec.level_cells import Levels
from vaekit.codec.rounding import Recording, Replaying
from vaekit.codec.vae_coding import LevelCoding
from vaekit.distributions import DiagonalGaussian
from vaekit.errors import BadPlan
from vaekit.families import assemble, family_of
from vaekit.families.joint.net import JointConfig
from vaekit.vae import VAE

GRAY = Levels(-1, 1, 256)
PRIORS = [
    {"kind": "mixture", "components": 7},
    {"kind": "vamp", "components": 5},
    {"kind": "flow", "layers": 3, "hidden": 8},
]
CODES = [
    {"kind": "vq", "codes": 12},
    {"kind": "cosine-vq", "codes": 12},
    {"kind": "residual-vq", "codes": 5, "stages": 3},
    {"kind": "fsq", "levels": [4, 5, 3]},
    {"kind": "lfq", "bits": 3},
    {"kind": "gumbel", "codes": 3},
]
KIND = "kind"


def coding_of(vae: VAE, x: Tensor) -> LevelCoding:
    geometry = vae.geometry
    return LevelCoding(
        vae, latent_grid(vae, x), (geometry.latent_channels, *geometry.latent_size((SIDE, SIDE))), GRAY, (1, SIDE, SIDE)
    )


def round_trip(coding: LevelCoding, x: Tensor, batch: int) -> float:
    """Bits, without those with which the coding starts."""
    rounding, stack = Recording(), BitStack(np.zeros(0, dtype=np.uint32))
    batches = coding.canonical(x).split(batch)
    initial = push_items(stack, coding, batches, rounding)
    again = BitStack(stack.words)
    found = list(pop_items(again, coding, [len(each) for each in batches], Replaying(rounding.corrections)))
    assert torch.equal(torch.cat(found), torch.cat(batches))
    assert again.bits == 0
    return stack.bits - initial


@torch.no_grad()
def negative_elbo(vae: VAE, x: Tensor) -> float:
    """In bits, from 16 samples of each item; for codes that items determine, without an entropy."""
    posterior, prior, draws = encoded(vae, x), vae.prior, []
    assert prior is not None
    for _ in range(16):
        z = posterior.sample()
        draws.append(vae.likelihood(z).log_prob(x.double()) - posterior.log_prob(z) + prior.log_prob(z))
    return -torch.stack(draws).mean(dim=0).sum().item() / math.log(2)


def narrow(moments: Tensor) -> DiagonalGaussian:
    """Posteriors whose samples are all about equally good: the ELBO is then known from a few of them."""
    wide = DiagonalGaussian.from_moments(moments)
    return DiagonalGaussian(wide.mean, wide.log_variance - 4)


@pytest.mark.parametrize("prior", PRIORS, ids=lambda part: part[KIND])
def test_learned_priors(prior: Mapping[str, Any]) -> None:
    x = as_items(gray_images(200))
    vae = image_vae(prior=prior).double()
    vae.to_posterior = narrow
    assert round_trip(coding_of(vae, x), x, 4) == pytest.approx(negative_elbo(vae, x), rel=0.01)


@pytest.mark.parametrize("posterior", CODES, ids=lambda part: part[KIND])
def test_codes(posterior: Mapping[str, Any]) -> None:
    x = as_items(gray_images(60))
    vae = image_vae(posterior=posterior).double()
    coding = coding_of(vae, x)
    assert isinstance(coding.latents, CodeLatents)
    assert round_trip(coding, x, 4) == pytest.approx(negative_elbo(vae, x), rel=0.01)


def test_the_bits_of_a_prior_are_those_of_its_density() -> None:
    """Of the latents alone, also where the stack has nothing for further variables but these bits."""
    generator = torch.Generator().manual_seed(0)
    for prior in PRIORS:
        vae = image_vae(prior=prior).double()
        with torch.no_grad():
            for weight in vae.to_prior.parameters():  # type: ignore[union-attr]
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
        grid = latent_grid(vae, as_items(gray_images(20)))
        latents = latents_of(vae, grid, (3, 1, 1))
        with torch.no_grad():
            z = vae.prior.sample(torch.empty(500, 3, 1, 1).double(), generator)  # type: ignore[union-attr]
            cells = grid.nearest(z)
            expected = -vae.prior.log_prob(latents.values(cells, 500)).sum() / math.log(2)  # type: ignore[union-attr]
        expected -= 1500 * math.log2(grid.step)
        stack = BitStack(np.arange(2, 40_000, dtype=np.uint32) * np.uint32(2654435761))
        before, rounding = stack.bits, Recording()
        latents.prior.push(coder := Coder(stack, rounding, 0), cells, 500)
        assert stack.bits - before == pytest.approx(float(expected), rel=0.01)
        assert np.array_equal(latents.prior.pop(coder, 500), cells)


def test_other_posteriors_and_priors_are_named() -> None:
    x = as_items(gray_images(2))
    with pytest.raises(BadPlan, match="Point"):
        latent_grid(image_vae(posterior={"kind": "point"}).double(), x)
    with pytest.raises(BadPlan, match="GaussianAndCategoricals"):
        latent_grid(assemble(family_of("joint"), JointConfig(1, 32, 4, 8, 2, (3,))).double(), torch.zeros(1, 1, 32, 32))


def test_latents_that_are_not_finite() -> None:
    vae = image_vae().double()
    with torch.no_grad():
        next(vae.parameters()).fill_(torch.nan)
    with pytest.raises(BadPlan, match="finite"):
        latent_grid(vae, as_items(gray_images(2)))
