"""Small autoencoders with random weights, for everything that is done to files."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch

from vaekit.checkpoints.families import Config, assemble, family_with
from vaekit.checkpoints.families.batch_norm import EPSILON, frame_of
from vaekit.nets.approx import ApproxConfig
from vaekit.nets.asymmetric import AsymmetricConfig
from vaekit.nets.burgess import BurgessConfig
from vaekit.nets.joint import JointConfig
from vaekit.nets.kl import KLConfig
from vaekit.nets.tiny import TinyConfig
from vaekit.nets.vq import VQConfig
from vaekit.vae import VAE, LatentFrame


def random_vae(config: Config, frame: LatentFrame | None) -> VAE:
    family = family_with(config)
    assert family is not None
    vae = assemble(family, config, frame=frame).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return vae


@pytest.fixture(name="random_vae")
def random_vae_fixture() -> Callable[[Config, LatentFrame | None], VAE]:
    """A VAE with random weights of any config."""
    return random_vae


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
    """What only vaekit's and LDM's own layouts can hold: attention inside levels, halves with as many blocks."""
    config = dataclasses.replace(kl_config, encoder_attention=(1,), decoder_attention=(0, 1), decoder_blocks=1)
    return random_vae(config, None)


@pytest.fixture
def vq_vae(kl_config: KLConfig) -> VAE:
    """Attention inside the last level, a codebook of 50 vectors narrower than what the nets have around it."""
    inside = {"encoder_attention": (1,), "decoder_attention": (1,), "hidden_channels": 6}
    return random_vae(VQConfig(**(dataclasses.asdict(kl_config) | inside), codes=50), LatentFrame())


@pytest.fixture
def tiny_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), False), LatentFrame())


@pytest.fixture
def pooled_vae() -> VAE:
    return random_vae(TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), True), None)


@pytest.fixture
def asymmetric_vae(kl_config: KLConfig) -> VAE:
    fields = dataclasses.asdict(kl_config) | {"encoder_widths": (32, 32, 64, 64), "decoder_widths": (32, 64, 128, 128)}
    return random_vae(AsymmetricConfig(**fields | {"decoder_blocks": 3}), LatentFrame((0.0,), (0.18215,)))


@pytest.fixture
def stem_vae() -> VAE:
    """What makes TAESANA itself, small: a strided stem, and a decoder of several widths."""
    return random_vae(TinyConfig(3, 4, (4, 8), (8, 8), (16, 8, 8, 4), (1, 2), (2, 1, 1, 1), False), LatentFrame())


@pytest.fixture
def approx_vae() -> VAE:
    return random_vae(ApproxConfig(3, 4, (8, 4, 4, 4, 4, 4, 4), (7, 5, 3, 3, 3, 3, 3, 3)), LatentFrame())


@pytest.fixture
def burgess_vae() -> VAE:
    return random_vae(BurgessConfig(1, 32, 8, 16, 5), None)


@pytest.fixture
def joint_vae() -> VAE:
    return random_vae(JointConfig(3, 64, 8, 16, 5, (4, 3)), None)


@pytest.fixture
def flux2_vae(kl_config: KLConfig) -> VAE:
    """What makes FLUX.2 itself, small: a decoder with widths of its own, and a frame from batch-norm statistics."""
    channels = 4 * kl_config.latent_channels
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(channels, generator=generator)
    variance = torch.rand(channels, generator=generator) * 3
    config = dataclasses.replace(kl_config, decoder_widths=(96, 32))
    return random_vae(config, frame_of(mean, variance, EPSILON))
