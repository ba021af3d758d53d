"""The space that a diffusion model works in: the latents of a VAE, or items themselves."""

from dataclasses import dataclass
from math import prod
from typing import Protocol

from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.distributions import DiagonalGaussian
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.find import domain_named
from vaekit.errors import BadRecipe
from vaekit.tasks.model import OpenModel, open_model
from vaekit.tasks.options import EngineOptions, ModelOptions

VALUES, MOST_ITEMS = 2**20, 256
"""Of the items that run at once: values, unless one item has more, and items."""


class LatentSpace(Protocol):
    """Encodes items and decodes latents."""

    @property
    def domain(self) -> Domain:
        """Of the items."""

    @property
    def schema(self) -> Schema:
        """Of the items."""

    @property
    def origin(self) -> LatentOrigin | None:
        """The identity of the VAE; None without one."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log-variance of the posteriors of items (b, ...), raw; no log-variance for a posterior without.

        Raises:
            BadItem, TooLittleMemory, HalfMissing: see `Engine.encode`.
        """

    def decode(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """Items of a size, for raw latents (b, z, ...).

        Raises:
            BadItem, TooLittleMemory, HalfMissing: see `OpenModel.decode`.
        """


@dataclass(frozen=True, eq=False)
class EncodedSpace:
    """The latents of a VAE."""

    model: OpenModel

    @property
    def domain(self) -> Domain:
        return self.model.domain

    @property
    def schema(self) -> Schema:
        return self.model.schema

    @property
    def origin(self) -> LatentOrigin:
        return self.model.origin

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.model.engine.encode(x)
        if isinstance(posterior, DiagonalGaussian):
            return posterior.mean, posterior.log_variance
        return posterior.mode, None

    def decode(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        return self.model.decode(z, size)


@dataclass(frozen=True, eq=False)
class ItemSpace:
    """Items themselves, such as pixels: the encoder is the identity."""

    domain: Domain
    schema: Schema
    origin: None = None

    def encode(self, x: Tensor) -> tuple[Tensor, None]:
        return x, None

    def decode(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        del size
        return z


def encoded_space(vae: ModelOptions, device: str | None, batch: int | None = None) -> EncodedSpace:
    """The latent space of a VAE.

    Args:
        vae: which one.
        device: where it runs.
        batch: items that run at once; None for what suits the size of its items.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, BadPlan: see `open_model`.
    """
    model = open_model(vae, EngineOptions(device=device, batch=1))
    at_once = batch or batch_for(tuple(model.schema.example().shape[1:]))
    if at_once == 1:
        return EncodedSpace(model)
    return EncodedSpace(open_model(vae, EngineOptions(device=device, batch=at_once)))


def item_space(domain: str, schema: Schema, name: str) -> ItemSpace:
    """The space of the items themselves.

    Raises:
        UnknownDomain: there is no such domain.
        BadRecipe: its items are tokens.
    """
    found = domain_named(domain)
    if not schema.example().is_floating_point():
        raise BadRecipe(
            f"The recipe {name} works on {found.items} themselves, which are tokens.",
            "Expected items of floating-point values, such as images and rows of tables.",
            "Train on the latents of a VAE: --vae.",
        )
    return ItemSpace(found, schema)


def batch_for(shape: tuple[int, ...]) -> int:
    """How many items of a shape run at once.

    >>> batch_for((3, 32, 32)), batch_for((3, 2048, 2048))
    (256, 1)
    """
    return max(1, min(MOST_ITEMS, VALUES // prod(shape)))
