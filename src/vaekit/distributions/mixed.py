"""Latents that are partly continuous numbers and partly choices: the posterior and the prior of a JointVAE.

In a latent z (b, n + K1 + K2 + ..., ...) the first n channels are continuous; each choice among K categories has K
channels, of which one is 1 and the others are 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Prior, sum_items
from vaekit.distributions.posteriors import DiagonalGaussian
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import PerItem

TEMPERATURE = 0.67
"""Of the softmax whose gradient stands in for that of a choice: the value that JointVAE was trained with."""


@dataclass(frozen=True)
class NormalAndUniform:
    """p(z): the continuous channels are N(0, 1), every category of a choice is equally likely."""

    categories: tuple[int, ...]

    def log_prob(self, z: Tensor) -> PerItem:
        continuous, *choices = split(z, self.categories)
        return StandardNormal().log_prob(continuous) - sum(
            choice[0, 0].numel() * math.log(size) for size, choice in zip(self.categories, choices, strict=True)
        )


@dataclass(frozen=True)
class GaussianAndCategoricals:
    """q(z|x): a diagonal Gaussian and independent categorical choices (Dupont 2018, arXiv 1804.00104, eq. 5).

    A sample is a choice, with the gradient of the relaxed one (straight-through Gumbel-softmax: Jang et al. 2017,
    arXiv 1611.01144, section 2.2). Probabilities are exact: a density for the numbers, a probability for the choices.
    """

    gaussian_mean: Tensor
    """(b, n, ...)."""
    log_variance: Tensor
    """(b, n, ...)."""
    logits: Tensor
    """(b, K1 + K2 + ..., ...): of all choices one after the other."""
    categories: tuple[int, ...]
    """How many there are to choose from, for each choice."""

    @classmethod
    def from_moments(cls, moments: Tensor, categories: tuple[int, ...]) -> "GaussianAndCategoricals":
        """Split an encoder's output (b, 2n + K1 + K2 + ..., ...): means, log-variances, logits; clamped and in single
        precision at least, as those of `DiagonalGaussian`."""
        both = moments.shape[1] - sum(categories)
        gaussian = DiagonalGaussian.from_moments(moments[:, :both])
        return cls(gaussian.mean, gaussian.log_variance, moments[:, both:].to(gaussian.mean.dtype), categories)

    @property
    def gaussian(self) -> DiagonalGaussian:
        """The continuous part."""
        return DiagonalGaussian(self.gaussian_mean, self.log_variance)

    @property
    def log_probabilities(self) -> list[Tensor]:
        """Of the categories of each choice, (b, K, ...)."""
        return [choice.log_softmax(dim=1) for choice in self.logits.split(self.categories, dim=1)]

    @property
    def mean(self) -> Tensor:
        """The expected latent: in place of a choice, the probability of each category."""
        return torch.cat([self.gaussian_mean, *(choice.exp() for choice in self.log_probabilities)], dim=1)

    @property
    def mode(self) -> Tensor:
        """The mean of the Gaussian and the most probable choices; gradients are those of the probabilities."""
        choices = [chosen(choice, choice.exp()) for choice in self.log_probabilities]
        return torch.cat([self.gaussian_mean, *choices], dim=1)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """The Gaussian by reparameterisation, each choice by the largest of its logits with Gumbel noise."""
        drawn = [self.gaussian.sample(generator)]
        for choice in self.log_probabilities:
            noisy = choice + gumbel_noise(choice, generator)
            drawn.append(chosen(noisy, (noisy / TEMPERATURE).softmax(dim=1)))
        return torch.cat(drawn, dim=1)

    def log_prob(self, z: Tensor) -> PerItem:
        """The density of the numbers times the probability of the choices; -inf where something else stands there."""
        continuous, *choices = split(z, self.categories)
        total = self.gaussian.log_prob(continuous)
        for choice, log_probability in zip(choices, self.log_probabilities, strict=True):
            valid = ((choice == 0) | (choice == 1)).all(dim=1) & (choice.sum(dim=1) == 1)
            probability = (choice * log_probability).sum(dim=1)
            total = total + sum_items(probability.masked_fill(~valid, -math.inf))
        return total

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """Closed form where the choices are uniform a priori (arXiv 1804.00104, section 3.3); else from one sample."""
        if not (isinstance(prior, NormalAndUniform) and prior.categories == self.categories):
            z = self.sample(generator)
            return self.log_prob(z) - prior.log_prob(z)
        total = self.gaussian.kl(StandardNormal())
        for choice in self.log_probabilities:
            total = total + sum_items((choice.exp() * (choice + math.log(choice.shape[1]))).sum(dim=1))
        return total


def split(z: Tensor, categories: Sequence[int]) -> list[Tensor]:
    """The continuous channels of a latent, then those of each choice."""
    return list(z.split([z.shape[1] - sum(categories), *categories], dim=1))


def chosen(scores: Tensor, relaxed: Tensor) -> Tensor:
    """One-hot at the highest score along the channels, to the last bit, with the gradient of the relaxed choice."""
    hard = torch.zeros_like(relaxed).scatter(1, scores.argmax(dim=1, keepdim=True), 1.0)
    # In this order the value is exact: what is added is exactly zero.
    return hard + (relaxed - relaxed.detach())


def gumbel_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """-log(-log(u)) for u in (0, 1), drawn where the generator lives and moved to where it is wanted."""
    device = like.device if generator is None else generator.device
    uniform = torch.rand(like.shape, generator=generator, device=device, dtype=torch.float64)
    edge = torch.finfo(torch.float64).tiny
    return -torch.log(-torch.log(uniform.clamp(min=edge))).to(like)
