"""Two small autoencoders with random weights, for everything that is done to files."""

import copy
import dataclasses

import pytest
import torch

from vaekit.checkpoints.families import Config, family_of
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.vae import VAE, LatentFrame


def random_vae(config: Config, frame: LatentFrame | None) -> VAE:
    family = family_of("kl" if isinstance(config, KLConfig) else "tiny")
    encoder, decoder = family.build(config)
    vae = VAE(encoder, family.to_posterior, decoder, family.to_likelihood, frame).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return vae


@pytest.fixture(scope="session")
def kl_config() -> KLConfig:
    return KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), True, True, True, 32)


@pytest.fixture(scope="session")
def pristine_kl_vae(kl_config: KLConfig) -> VAE:
    return random_vae(kl_config, LatentFrame((0.5,), (0.25,)))


@pytest.fixture
def kl_vae(pristine_kl_vae: VAE) -> VAE:
    return copy.deepcopy(pristine_kl_vae)


@pytest.fixture
def deep_vae(kl_config: KLConfig) -> VAE:
    """What only vaekit's and LDM's own layouts can hold: attention inside levels, unequal halves."""
    config = dataclasses.replace(kl_config, encoder_attention=(1,), decoder_attention=(0, 1), decoder_blocks=1)
    return random_vae(config, None)


@pytest.fixture
def tiny_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, 8, (1, 2), (2, 1), False), LatentFrame())


@pytest.fixture
def pooled_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, 8, (1, 2), (2, 1), True), None)
