"""Mixtures of Gaussians, for learned priors."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.posteriors import DiagonalGaussian
from vaekit.shapes import PerItem


@dataclass(frozen=True, repr=False)
class GaussianMixture:
    """p(z) = sum_k w_k N(mean_k, exp(log_variance_k)), with K components, independent per element."""

    mean: Tensor
    """(K, ...)."""
    log_variance: Tensor
    """(K, ...)."""
    log_weights: Tensor
    """(K,), in nats; their exponentials sum to 1."""

    @classmethod
    def even(cls, mean: Tensor, log_variance: Tensor) -> "GaussianMixture":
        """A mixture with equal weights."""
        return cls(mean, log_variance, mean.new_full((len(mean),), -math.log(len(mean))))

    def __repr__(self) -> str:
        return f"GaussianMixture({len(self.mean)} of {list(self.mean.shape[1:])})"

    def log_prob(self, z: Tensor) -> PerItem:
        """log p(z) of latents (b, ...), in memory for b K values.

        The squares are expanded, so that they are computed by two matrix products:

            sum_i (z_i - m_i)^2 / v_i = sum_i z_i^2 / v_i - 2 sum_i z_i m_i / v_i + sum_i m_i^2 / v_i

        Because of cancellation, they are computed in double precision if the device supports it.
        """
        exact = torch.float32 if z.device.type == "mps" else torch.float64
        flat, mean, log_variance = (t.flatten(1).to(exact) for t in (z, self.mean, self.log_variance))
        precision = torch.exp(-log_variance)
        weighted = mean * precision
        constant = (mean * weighted + log_variance).sum(dim=1) + mean.shape[1] * math.log(2 * math.pi)
        squares = torch.addmm(constant, flat.square(), precision.T) - 2 * flat @ weighted.T
        return torch.logsumexp(self.log_weights.to(exact) - 0.5 * squares, dim=1).to(z.dtype)

    def sample(self, like: Tensor, generator: Generator | None = None) -> Tensor:
        """Samples with the shape (b, ...) of `like`, with gradients for the chosen components."""
        weights = self.log_weights.detach().exp().to("cpu" if generator is None else generator.device)
        chosen = torch.multinomial(weights, len(like), replacement=True, generator=generator).to(self.mean.device)
        return DiagonalGaussian(self.mean[chosen], self.log_variance[chosen]).sample(generator)
