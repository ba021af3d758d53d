"""What a distribution must answer: the vocabulary of the two equations.

    encode: x -> q(z|x)   a Posterior
    decode: z -> p(x|z)   a Likelihood

These are protocols: a member is a small frozen dataclass that has the methods, and the law tests hold it to their
meaning. Log-probabilities and divergences are in nats, summed over every axis but the first: one number per item of
the batch. Randomness comes from an explicit `torch.Generator`.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.shapes import PerItem


@runtime_checkable
class Prior(Protocol):
    """p(z), before any data is seen. It has no shape of its own: it measures latents of any size."""

    def log_prob(self, z: Tensor) -> PerItem:
        """log p(z) in nats, summed over all axes but the first."""


@runtime_checkable
class SampledPrior(Prior, Protocol):
    """A prior that latents can be drawn from. One over codes cannot give latents: it knows no codebook."""

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """As many latents as these (b, ...), of their shape, dtype and device."""


@runtime_checkable
class Posterior(Protocol):
    """q(z|x): what an encoder knows about the raw latents of each item of a batch."""

    @property
    def mean(self) -> Tensor:
        """The expected raw latents, differentiable with respect to the encoder."""

    @property
    def mode(self) -> Tensor:
        """The most probable raw latents."""

    def sample(self, generator: Generator | None = None) -> Tensor:
        """Draw raw latents once per item, in a way that lets gradients through to the encoder."""

    def log_prob(self, z: Tensor) -> PerItem:
        """log q(z|x) in nats, summed over all axes but the first."""

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """KL(q(z|x) || p(z)) in nats: in closed form where there is one, else estimated from one draw."""


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z): what a decoder says about the data, given one latent per item."""

    @property
    def mode(self) -> Tensor:
        """The most probable data: what people call "the reconstruction"."""

    def sample(self, generator: Generator | None = None) -> Tensor:
        """Draw data once per item; no gradients."""

    def log_prob(self, x: Tensor) -> PerItem:
        """log p(x|z) in nats, summed over all axes but the first."""


ToPrior = Callable[[Callable[[Tensor], Posterior]], Prior]
"""A VAE's `encode` -> its prior: one that is learned may be made of posteriors."""
AnyPosterior = TypeVar("AnyPosterior", bound=Posterior)


def sum_items(values: Tensor) -> PerItem:
    """Sum over every axis but the first: (b, ...) -> (b,)."""
    return values.flatten(1).sum(dim=1) if values.dim() > 1 else values


def standard_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Gaussian noise with the shape, dtype and device of `like`.

    The noise is drawn where the generator lives and then moved, so that one seed gives one result on every device.
    """
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, device=device, dtype=torch.float32)
    return noise.to(device=like.device, dtype=like.dtype)


def map_tensors(function: Callable[[list[Tensor]], Tensor], *posteriors: AnyPosterior) -> AnyPosterior:
    """A posterior whose tensors are a function of the corresponding tensors of several of the same class; what is no
    tensor, such as how many categories there are, is that of the first."""
    first = posteriors[0]
    names = [field.name for field in dataclasses.fields(first)]  # type: ignore[arg-type]  # members are dataclasses
    values = [[getattr(posterior, name) for posterior in posteriors] for name in names]
    return type(first)(*(function(each) if isinstance(each[0], Tensor) else each[0] for each in values))
