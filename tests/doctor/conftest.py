"""VAEs to examine: healthy ones, and ones that a test may spoil."""

import copy
from collections.abc import Callable

import pytest
import torch

import vaekit
from vaekit.doctor.findings import Finding
from vaekit.doctor.observe import Observation, observe
from vaekit.vae import VAE

SIDE = 64
"""Of the images: small ones show the same faults."""
Spoil = Callable[[VAE], None]


@pytest.fixture(scope="session")
def healthy() -> VAE:
    """The built-in VAE, in fp32; not to be changed."""
    return vaekit.load("builtin").float()


@pytest.fixture(scope="session")
def observed(healthy: VAE) -> Observation:
    return observe(healthy, side=SIDE)


@pytest.fixture
def spoilt(healthy: VAE) -> Callable[[Spoil], Observation]:
    """The built-in VAE with a fault planted, observed."""

    def make(spoil: Spoil) -> Observation:
        vae = copy.deepcopy(healthy)
        with torch.no_grad():
            spoil(vae)
        return observe(vae, side=SIDE)

    return make


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}
