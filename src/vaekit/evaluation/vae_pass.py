"""The input of measures: items with their posteriors, latents and reconstructions."""

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.distributions import Likelihood, Posterior
from vaekit.distributions.base import map_tensors
from vaekit.geometry import HasGeometry
from vaekit.runtime.engine import Engine
from vaekit.vae import VAE, at_item_size


@runtime_checkable
class VAERunner(Protocol):
    """Runs a VAE: on batches as they are, or image by image in limited memory."""

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for a batch of items."""

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        """Decode raw latents; `like` are the items, whose shape the result has."""

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        """p(x|z) for raw latents; `like` are items, whose shape x has."""


@dataclass(frozen=True, eq=False)
class DirectRunner:
    """Runs a VAE on whole batches, in its own dtype and on its own device."""

    vae: VAE

    def encode(self, x: Tensor) -> Posterior:
        return self.vae.encode(x)

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        decoded = self.vae.decode(z)
        return at_item_size(decoded, self.vae.geometry) if isinstance(self.vae.config, HasGeometry) else decoded

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        return self.vae.likelihood(z)


@dataclass(frozen=True, eq=False)
class EngineRunner:
    """A VAE that an engine runs."""

    engine: Engine

    def encode(self, x: Tensor) -> Posterior:
        return self.engine.encode(x)

    def decode(self, z: Tensor, like: Tensor) -> Tensor:
        return at_item_size(self.engine.decode(z, tuple(like.shape[2:])), self.engine.geometry)

    def likelihood(self, z: Tensor, like: Tensor) -> Likelihood:
        return self.engine.likelihood(z, tuple(like.shape[2:]))


@dataclass(frozen=True, eq=False)
class VAEPass:
    """A batch of items with their posteriors, latents and reconstructions, each computed on first use."""

    names: tuple[str, ...]
    x: Tensor
    """(b, ...)."""
    runner: VAERunner
    seed: int
    sampled: bool
    """Whether latents are samples of the posterior, not its mode."""

    @cached_property
    def posterior(self) -> Posterior:
        """q(z|x)."""
        return self.runner.encode(self.x)

    @cached_property
    def latents(self) -> Tensor:
        """Raw latents (b, ...): the posterior's mode, or one sample for each item."""
        if not self.sampled:
            return self.posterior.mode
        return torch.cat(
            [select_item(self.posterior, i).sample(self.generator(i, "latents")) for i in range(len(self.names))]
        )

    @cached_property
    def result(self) -> Tensor:
        """The reconstructions, in the shape of the items."""
        return self.runner.decode(self.latents, self.x)

    def generator(self, item: int, purpose: str) -> Generator:
        """The generator of one item for a purpose, seeded by the run's seed and the item's name only."""
        content = f"{self.seed}\n{purpose}\n{self.names[item]}".encode("utf-8", "surrogateescape")
        return Generator().manual_seed(struct.unpack("<q", hashlib.sha256(content).digest()[:8])[0])


def select_item(posterior: Posterior, item: int, times: int = 1) -> Posterior:
    """The posterior of one item of a batch, repeated `times` times."""
    return map_tensors(lambda tensors: tensors[0][item : item + 1].expand(times, *tensors[0].shape[1:]), posterior)
