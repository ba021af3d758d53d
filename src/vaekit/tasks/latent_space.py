"""The space that a diffusion model works in: the latents of a VAE, or items themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from vaekit.checkpoints.latent_files import LatentOrigin
from vaekit.distributions import DiagonalGaussian, Posterior, Quantized
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.find import domain_named
from vaekit.errors import BadRecipe
from vaekit.runtime.engine import Engine
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
    schema: Schema

    @property
    def domain(self) -> Domain:
        return self.model.domain

    @property
    def origin(self) -> LatentOrigin:
        return self.model.origin

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        posterior = self.model.engine.encode(x)
        if isinstance(posterior, DiagonalGaussian):
            return posterior.mean, posterior.log_variance
        return posterior.mode, None

    def decode(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        return self.model.decode(self.quantized(z), size)

    def quantized(self, z: Tensor) -> Tensor:
        """Latents (b, z, ...) as the decoder knows them: of a VAE with a codebook, the nearest vectors of it."""
        return self._quantizer(z).mode.to(z) if self._quantizer is not None else z

    @cached_property
    def _quantizer(self) -> Callable[[Tensor], Posterior] | None:
        """The quantizer of a VAE whose latents stay what they are when they are quantized again."""
        vae = self.model.engine.vae
        if vae.encoder is None:
            return None
        posterior = self.model.engine.encode(self.schema.example())
        if not isinstance(posterior, Quantized):
            return None
        again = vae.to_posterior(posterior.mode)
        return vae.to_posterior if torch.allclose(again.mode, posterior.mode, atol=1e-5) else None


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


def encoded_space(
    vae: ModelOptions, device: str | None, data: Mapping[str, Any] = MappingProxyType({})
) -> EncodedSpace:
    """The latent space of a VAE, which runs as many items at once as suits their size.

    Args:
        vae: which one.
        device: where it runs.
        data: the table [data] of a recipe: how items are prepared for a VAE that takes any size.

    Raises:
        NotFound, BadCheckpoint, UnknownVAE, BadPlan: see `open_model`.
        BadRecipe: the table makes no sense.
    """
    model = open_model(vae, EngineOptions(device=device, batch=1))
    schema = prepared_schema(model, data)
    at_once = batch_for(tuple(schema.example().shape[1:]))
    engine = Engine(model.engine.vae, replace(model.engine.plan, batch_size=at_once))
    return EncodedSpace(replace(model, engine=engine, schema=schema), schema)


def prepared_schema(model: OpenModel, data: Mapping[str, Any]) -> Schema:
    """The schema of a VAE; with the size and the like in a recipe's [data], if the VAE takes items of any size.

    Raises:
        BadRecipe: the table makes no sense.
    """
    geometry = model.engine.geometry
    if geometry.size is not None or not geometry.axes:
        return model.schema
    own = model.schema.as_plain()
    given = {name: value for name, value in data.items() if name in own and name != "channels"}
    if not given:
        return model.schema
    model.domain.check_table({**own, **given})
    return model.domain.schema_from({**own, **given}, model.engine.vae.config)


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
