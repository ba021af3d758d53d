"""The protocols of distributions.

    encode: x -> q(z|x)   a Posterior
    decode: z -> p(x|z)   a Likelihood

Implementations are frozen dataclasses; the tests of laws check that their methods are consistent. Log-probabilities and
divergences are in nats, summed over all axes but the first: (b, ...) -> (b,). Random numbers come from an explicit
`torch.Generator`.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.shapes import PerItem


@runtime_checkable
class Prior(Protocol):
    """p(z). A prior may apply to latents of any size."""

    def log_prob(self, z: Tensor) -> PerItem:
        """log p(z) in nats, summed over all axes but the first."""


@runtime_checkable
class SampledPrior(Prior, Protocol):
    """A prior that can be sampled. Priors over codes cannot, as they have no codebook."""

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...), dtype and device of `like`."""


@runtime_checkable
class Posterior(Protocol):
    """q(z|x): the distribution of the raw latents of each item of a batch."""

    @property
    def mean(self) -> Tensor:
        """The expectation of the raw latents, differentiable with respect to the encoder."""

    @property
    def mode(self) -> Tensor:
        """The most probable raw latents."""

    def sample(self, generator: Generator | None = None) -> Tensor:
        """One sample of raw latents per item, differentiable with respect to the encoder (reparameterized)."""

    def log_prob(self, z: Tensor) -> PerItem:
        """log q(z|x) in nats, summed over all axes but the first."""

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """KL(q(z|x) || p(z)) in nats: in closed form if there is one, otherwise estimated from one sample."""


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z): the distribution of data, given one latent per item."""

    @property
    def mode(self) -> Tensor:
        """The most probable data: the reconstruction."""

    def sample(self, generator: Generator | None = None) -> Tensor:
        """One sample of data per item, without gradients."""

    def log_prob(self, x: Tensor) -> PerItem:
        """log p(x|z) in nats, summed over all axes but the first."""


@runtime_checkable
class Factorized(Likelihood, Protocol):
    """A likelihood with independent elements: p(x|z) = prod_i p(x_i|z)."""

    def log_factors(self, x: Tensor) -> Tensor:
        """log p(x_i|z) in nats of each element, (b, ...); of rows, of each column, (b, columns). Sums to `log_prob`."""


@runtime_checkable
class HasExpectation(Protocol):
    """A likelihood of discrete data, whose mode has no gradient."""

    @property
    def expectation(self) -> Tensor:
        """Differentiable values in the place of the mode, (b, ...): probabilities instead of 0 and 1."""


def expectation(likelihood: Likelihood) -> Tensor:
    """The mode, or for discrete data probabilities in its place, which have gradients."""
    return likelihood.expectation if isinstance(likelihood, HasExpectation) else likelihood.mode


ToPrior = Callable[[Callable[[Tensor], Posterior]], Prior]
"""A function from a VAE's `encode` to its prior: learned priors may depend on posteriors."""
AnyPosterior = TypeVar("AnyPosterior", bound=Posterior)


def sum_items(values: Tensor) -> PerItem:
    """Sum over every axis but the first: (b, ...) -> (b,)."""
    return values.flatten(1).sum(dim=1) if values.dim() > 1 else values


def standard_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """Gaussian noise with the shape, dtype and device of `like`.

    It is drawn on the generator's device and then moved, so that a seed gives the same noise on every device.
    """
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, device=device, dtype=torch.float32)
    return noise.to(device=like.device, dtype=like.dtype)


def map_tensors(function: Callable[[list[Tensor]], Tensor], *posteriors: AnyPosterior) -> AnyPosterior:
    """A posterior whose tensors are a function of the corresponding tensors of posteriors of the same class. Other
    fields, such as the number of categories, are those of the first."""
    first = posteriors[0]
    names = [field.name for field in dataclasses.fields(first)]  # type: ignore[arg-type]  # members are dataclasses
    values = [[getattr(posterior, name) for posterior in posteriors] for name in names]
    return type(first)(*(function(each) if isinstance(each[0], Tensor) else each[0] for each in values))
