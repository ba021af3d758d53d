"""Posteriors over codes that are no cells of a codebook: signs of numbers, and choices from a list."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Prior, sum_items
from vaekit.distributions.mixed import TEMPERATURE, chosen, gumbel_noise
from vaekit.distributions.posteriors import Quantized
from vaekit.distributions.priors import UniformCodes
from vaekit.shapes import Codes, PerItem


@dataclass(frozen=True)
class Signs(Quantized):
    """Every number is -1 or 1, and the signs of a position are its code (Yu et al. 2023, arXiv 2310.05737, eq. 3)."""

    @classmethod
    def of(cls, continuous: Tensor) -> "Signs":
        """The nearest signs of numbers (b, d, ...); zero counts as positive. The first channel is the lowest bit."""
        positive = continuous >= 0
        places = 2 ** torch.arange(continuous.shape[1], device=continuous.device)
        codes = (positive.movedim(1, -1) * places).sum(dim=-1)
        return cls(continuous, codes, positive.to(continuous.dtype) * 2 - 1)

    def log_chances(self, temperature: float) -> tuple[Tensor, Tensor]:
        """log q(-1) and log q(1) of each number, (b, d, ...), if the nearer sign were only the likelier one: a softmax
        of minus the squared distances over the temperature."""
        lean = 4 * self.continuous / temperature  # (z + 1)^2 - (z - 1)^2 = 4 z
        return torch.nn.functional.logsigmoid(-lean), torch.nn.functional.logsigmoid(lean)


@dataclass(frozen=True)
class Choices:
    """One of K codes at every position, each with its own probability: the posterior of a discrete VAE.

    A latent is one-hot along its K channels. A sample is a choice with the gradient of the relaxed one (the
    straight-through Gumbel-softmax of Jang et al. 2017, arXiv 1611.01144, section 2.2); or the relaxed choice itself,
    which is near one-hot where the temperature is low (Ramesh et al. 2021, arXiv 2102.12092, section 2.1). The
    divergence is that of the choice, in closed form, either way.
    """

    continuous: Tensor
    """Logits, (b, K, ...)."""
    temperature: float = TEMPERATURE
    relaxed: bool = False
    """Whether samples are relaxed choices: numbers that sum to one."""

    @property
    def log_probabilities(self) -> Tensor:
        """Of the codes, (b, K, ...)."""
        return self.continuous.log_softmax(dim=1)

    @property
    def codes(self) -> Codes:
        """The most probable, (b, ...)."""
        return self.continuous.argmax(dim=1)

    @property
    def embedded(self) -> Tensor:
        """The most probable codes, one-hot."""
        return self.mode.detach()

    @property
    def mean(self) -> Tensor:
        """The expected latent: the probability of each code."""
        return self.log_probabilities.exp()

    @property
    def mode(self) -> Tensor:
        """The most probable codes, one-hot; gradients are those of the probabilities."""
        return chosen(self.continuous, self.mean)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """The largest of the logits with Gumbel noise, or the softmax of them at the temperature."""
        noisy = self.log_probabilities + gumbel_noise(self.continuous, generator)
        relaxed = (noisy / self.temperature).softmax(dim=1)
        return relaxed if self.relaxed else chosen(noisy, relaxed)

    def log_prob(self, z: Tensor) -> PerItem:
        """The probability of the choices; -inf where something else stands there."""
        valid = ((z == 0) | (z == 1)).all(dim=1) & (z.sum(dim=1) == 1)
        return sum_items((z * self.log_probabilities).sum(dim=1).masked_fill(~valid, -math.inf))

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """log K minus the entropy, at every position, under uniform codes; else from one choice."""
        if isinstance(prior, UniformCodes):
            told = self.log_probabilities
            return sum_items((told.exp() * (told + math.log(prior.size))).sum(dim=1))
        z = Choices(self.continuous, self.temperature).sample(generator)
        return self.log_prob(z) - prior.log_prob(z)
