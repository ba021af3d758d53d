"""Latents with continuous and categorical parts: the posterior and the prior of a JointVAE.

In a latent z (b, n + K1 + K2 + ..., ...) the first n channels are continuous; each choice among K categories has K
channels with a one-hot vector.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Prior, standard_noise, sum_items
from vaekit.distributions.posteriors import DiagonalGaussian
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import PerItem

TEMPERATURE = 0.67
"""The temperature of the Gumbel-softmax that JointVAE was trained with."""


@dataclass(frozen=True)
class NormalAndUniform:
    """p(z): the continuous channels are N(0, 1), the categories of each choice are equally likely."""

    categories: tuple[int, ...]

    def log_prob(self, z: Tensor) -> PerItem:
        continuous, *choices = split(z, self.categories)
        return StandardNormal().log_prob(continuous) - sum(
            choice[0, 0].numel() * math.log(size) for size, choice in zip(self.categories, choices, strict=True)
        )

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...), dtype and device of `like`; choices are one-hot."""
        noise = standard_noise(like, generator)
        continuous, *choices = split(noise, self.categories)  # the largest of K equal variables is each equally likely
        return torch.cat([continuous, *(chosen(choice, choice.detach()) for choice in choices)], dim=1)


@dataclass(frozen=True)
class GaussianAndCategoricals:
    """q(z|x): a diagonal Gaussian and independent categorical choices (Dupont 2018, arXiv 1804.00104, eq. 5).

    A sample is one-hot, with the gradient of a relaxed choice (straight-through Gumbel-softmax: Jang et al. 2017, arXiv
    1611.01144, section 2.2). Probabilities are exact: a density of the continuous part times a probability of choices.
    """

    gaussian_mean: Tensor
    """(b, n, ...)."""
    log_variance: Tensor
    """(b, n, ...)."""
    logits: Tensor
    """The logits of all choices, concatenated: (b, K1 + K2 + ..., ...)."""
    categories: tuple[int, ...]
    """The number of categories of each choice."""

    @classmethod
    def from_moments(cls, moments: Tensor, categories: tuple[int, ...]) -> "GaussianAndCategoricals":
        """Split an encoder's output (b, 2n + K1 + K2 + ..., ...) into means, log-variances and logits; clamped, and at
        least in single precision, like those of `DiagonalGaussian`."""
        both = moments.shape[1] - sum(categories)
        gaussian = DiagonalGaussian.from_moments(moments[:, :both])
        return cls(gaussian.mean, gaussian.log_variance, moments[:, both:].to(gaussian.mean.dtype), categories)

    @property
    def gaussian(self) -> DiagonalGaussian:
        """The continuous part."""
        return DiagonalGaussian(self.gaussian_mean, self.log_variance)

    @property
    def log_probabilities(self) -> list[Tensor]:
        """The log-probabilities of the categories of each choice, (b, K, ...)."""
        return [choice.log_softmax(dim=1) for choice in self.logits.split(self.categories, dim=1)]

    @property
    def mean(self) -> Tensor:
        """The expectation of latents: the mean of the Gaussian, and the probabilities of categories."""
        return torch.cat([self.gaussian_mean, *(choice.exp() for choice in self.log_probabilities)], dim=1)

    @property
    def mode(self) -> Tensor:
        """The mean of the Gaussian and the most probable categories, one-hot, with the gradients of probabilities."""
        choices = [chosen(choice, choice.exp()) for choice in self.log_probabilities]
        return torch.cat([self.gaussian_mean, *choices], dim=1)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """A reparameterized sample of the Gaussian; for each choice the maximum of logits with Gumbel noise."""
        parts = [self.gaussian.sample(generator)]
        for choice in self.log_probabilities:
            noisy = choice + gumbel_noise(choice, generator)
            parts.append(chosen(noisy, (noisy / TEMPERATURE).softmax(dim=1)))
        return torch.cat(parts, dim=1)

    def log_prob(self, z: Tensor) -> PerItem:
        """The log-density of the continuous part plus the log-probability of choices; -inf unless they are one-hot."""
        continuous, *choices = split(z, self.categories)
        total = self.gaussian.log_prob(continuous)
        for choice, log_probability in zip(choices, self.log_probabilities, strict=True):
            valid = ((choice == 0) | (choice == 1)).all(dim=1) & (choice.sum(dim=1) == 1)
            probability = (choice * log_probability).sum(dim=1)
            total = total + sum_items(probability.masked_fill(~valid, -math.inf))
        return total

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """In closed form for `NormalAndUniform` (arXiv 1804.00104, section 3.3); otherwise from one sample."""
        if not (isinstance(prior, NormalAndUniform) and prior.categories == self.categories):
            z = self.sample(generator)
            return self.log_prob(z) - prior.log_prob(z)
        total = self.gaussian.kl(StandardNormal())
        for choice in self.log_probabilities:
            total = total + sum_items((choice.exp() * (choice + math.log(choice.shape[1]))).sum(dim=1))
        return total


def split(z: Tensor, categories: Sequence[int]) -> list[Tensor]:
    """Split latents into the continuous channels and those of each choice."""
    return list(z.split([z.shape[1] - sum(categories), *categories], dim=1))


def chosen(scores: Tensor, relaxed: Tensor) -> Tensor:
    """Exactly one-hot at the highest score along the channels, with the gradient of the relaxed choice."""
    hard = torch.zeros_like(relaxed).scatter(1, scores.argmax(dim=1, keepdim=True), 1.0)
    # In this order the value is exact, since zero is added.
    return hard + (relaxed - relaxed.detach())


def gumbel_noise(like: Tensor, generator: Generator | None) -> Tensor:
    """-log(-log(u)) for u in (0, 1), drawn on the generator's device and moved to that of `like`."""
    device = like.device if generator is None else generator.device
    uniform = torch.rand(like.shape, generator=generator, device=device, dtype=torch.float64)
    edge = torch.finfo(torch.float64).tiny
    return -torch.log(-torch.log(uniform.clamp(min=edge))).to(like)
