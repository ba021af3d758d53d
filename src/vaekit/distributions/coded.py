"""Discrete posteriors without a codebook: signs, and categorical choices."""

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
    """Latent values are -1 or 1, and the signs at a position are its code (Yu et al. 2023, arXiv 2310.05737, eq. 3)."""

    @classmethod
    def of(cls, continuous: Tensor) -> "Signs":
        """The signs of values (b, d, ...); zero is positive. The first channel is the lowest bit of the code."""
        positive = continuous >= 0
        bits = 2 ** torch.arange(continuous.shape[1], device=continuous.device)
        codes = (positive.movedim(1, -1) * bits).sum(dim=-1)
        return cls(continuous, codes, positive.to(continuous.dtype) * 2 - 1)

    def log_probabilities(self, temperature: float) -> tuple[Tensor, Tensor]:
        """log q(-1) and log q(1) of each value, each (b, d, ...), for a relaxed choice: a softmax of negative squared
        distances divided by the temperature."""
        logit = 4 * self.continuous / temperature  # (z + 1)^2 - (z - 1)^2 = 4 z
        return torch.nn.functional.logsigmoid(-logit), torch.nn.functional.logsigmoid(logit)


@dataclass(frozen=True)
class Choices:
    """A categorical distribution over K codes at every position: the posterior of a discrete VAE.

    Latents are one-hot along their K channels. A sample is one-hot with the gradient of a relaxed choice
    (straight-through Gumbel-softmax: Jang et al. 2017, arXiv 1611.01144, section 2.2), or the relaxed choice itself,
    which is close to one-hot at low temperatures (Ramesh et al. 2021, arXiv 2102.12092, section 2.1). The divergence is
    that of the categorical distribution, in closed form, in both cases.
    """

    continuous: Tensor
    """Logits, (b, K, ...)."""
    temperature: float = TEMPERATURE
    """Of relaxed choices."""
    relaxed: bool = False
    """Whether samples are relaxed choices: non-negative values that sum to 1."""

    @property
    def log_probabilities(self) -> Tensor:
        """The log-probabilities of the codes, (b, K, ...)."""
        return self.continuous.log_softmax(dim=1)

    @property
    def codes(self) -> Codes:
        """The most probable codes, (b, ...)."""
        return self.continuous.argmax(dim=1)

    @property
    def embedded(self) -> Tensor:
        """The most probable codes, one-hot."""
        return self.mode.detach()

    @property
    def mean(self) -> Tensor:
        """The expectation of latents: the probability of each code, (b, K, ...)."""
        return self.log_probabilities.exp()

    @property
    def mode(self) -> Tensor:
        """The most probable codes, one-hot, with the gradients of the probabilities."""
        return chosen(self.continuous, self.mean)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """The maximum of logits with Gumbel noise, one-hot, or their softmax if relaxed: (b, K, ...)."""
        noisy = self.log_probabilities + gumbel_noise(self.continuous, generator)
        relaxed = (noisy / self.temperature).softmax(dim=1)
        return relaxed if self.relaxed else chosen(noisy, relaxed)

    def log_prob(self, z: Tensor) -> PerItem:
        """The log-probability of one-hot latents; -inf for all other values."""
        valid = ((z == 0) | (z == 1)).all(dim=1) & (z.sum(dim=1) == 1)
        return sum_items((z * self.log_probabilities).sum(dim=1).masked_fill(~valid, -math.inf))

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """log K minus the entropy at every position for uniform codes; otherwise from one sample."""
        if isinstance(prior, UniformCodes):
            log_probabilities = self.log_probabilities
            return sum_items((log_probabilities.exp() * (log_probabilities + math.log(prior.size))).sum(dim=1))
        z = Choices(self.continuous, self.temperature).sample(generator)
        return self.log_prob(z) - prior.log_prob(z)
