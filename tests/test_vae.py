"""Latents that are not a VAE's own are refused before a tensor error says less."""

from pathlib import Path

import pytest
import torch
from refusals import refuses

import vaekit
from vaekit.errors import LatentMismatch
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE


@pytest.fixture
def vae() -> VAE:
    return vaekit.load("builtin")


@pytest.mark.parametrize("decode", ["decode", "likelihood"])
def test_latents_of_another_family_are_named(vae: VAE, decode: str) -> None:
    with refuses(LatentMismatch, "4", "SD1 / SD2", "SDXL", "kl") as caught:
        getattr(vae, decode)(torch.zeros(1, 4, 4, 4))
    assert "16" in caught.value.expected
    assert "SDXL" in caught.value.remedy


def test_the_engine_says_the_same(vae: VAE) -> None:
    with refuses(LatentMismatch, "4", "SD1 / SD2", "SDXL"):
        vaekit.Engine(vae).decode(torch.zeros(1, 4, 4, 4))


def test_normalized_latents_given_for_raw_ones_are_told(vae: VAE) -> None:
    vae.normalization = LatentNormalization((0.0,), (1.0,), patch=2)
    with refuses(LatentMismatch, "vae.denormalize(latents)"):
        vae.decode(torch.zeros(1, 64, 2, 2))


def test_channels_that_nobody_has_and_vaes_from_no_file(vae: VAE) -> None:
    with refuses(LatentMismatch, "5", "kl"):
        vae.decode(torch.zeros(1, 5, 2, 2))
    vae.origin = None
    with refuses(LatentMismatch, "4"):
        vae.decode(torch.zeros(1, 4, 2, 2))


def test_a_vae_without_a_config_takes_what_its_nets_take() -> None:
    from vaekit.distributions import Normal, Point

    vae = VAE(torch.nn.Identity(), Point, torch.nn.Identity(), Normal)
    assert vae.decode(torch.zeros(2, 7)).shape == (2, 7)


def test_where_weights_come_from_is_told_by_family_and_kind(shared_data: Path) -> None:
    origin = vaekit.load(shared_data / "vae" / "taesd").origin
    assert origin is not None
    assert origin.name == "TAESD (latents of SD1 or SDXL) ('tiny' family)"
