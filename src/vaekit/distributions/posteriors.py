"""Posteriors q(z|x): Gaussian, point, and vector-quantized."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions.base import Prior, standard_noise, sum_items
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import Codes, PerItem

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""The range of log-variances, as in all latent diffusion autoencoders: exp() stays finite in fp32."""
LEAST_SCALE = 1e-4
"""Added to standard deviations that are a softplus, as in stable-audio-tools."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """q(z|x) = N(mean, exp(log_variance)), independent per element (Kingma & Welling 2014, arXiv 1312.6114)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def from_moments(cls, moments: Tensor) -> "DiagonalGaussian":
        """Split an encoder's output (b, 2z, ...) into mean (first z channels) and clamped log-variance (last z), in
        single precision at least."""
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        mean, log_variance = exact.chunk(2, dim=1)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    @classmethod
    def from_softplus(cls, moments: Tensor) -> "DiagonalGaussian":
        """The same for encoders of audio whose last z channels are not log-variances s, but standard deviations
        ln(1 + e^s), plus a minimum (Stable Audio: Evans et al. 2024, arXiv 2407.14358)."""
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        mean, scale = exact.chunk(2, dim=1)
        log_variance = 2 * torch.log(F.softplus(scale) + LEAST_SCALE)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    @classmethod
    def from_log_std(cls, moments: Tensor) -> "DiagonalGaussian":
        """The same for encoders whose last z channels are logarithms of standard deviations."""
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        mean, log_std = exact.chunk(2, dim=1)
        return cls(mean, (2 * log_std).clamp(*LOG_VARIANCE_RANGE))

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.log_variance)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """mean + std * noise: the reparameterization trick (arXiv 1312.6114, section 2.4)."""
        return self.mean + self.std * standard_noise(self.mean, generator)

    def log_prob(self, z: Tensor) -> PerItem:
        squared = (z - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * sum_items(squared + self.log_variance + math.log(2 * math.pi))

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """In closed form for the standard normal (arXiv 1312.6114, appendix B); otherwise from one sample."""
        if isinstance(prior, StandardNormal):
            return sum_items(self.elementwise_kl())
        z = self.sample(generator)
        return self.log_prob(z) - prior.log_prob(z)

    def elementwise_kl(self) -> Tensor:
        """KL of each element from N(0, 1), (b, ...): (mean^2 + variance - 1 - log variance) / 2."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance)


@dataclass(frozen=True)
class Point:
    """All probability mass on one latent: the posterior of a plain autoencoder."""

    mean: Tensor

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.mean

    def log_prob(self, z: Tensor) -> PerItem:
        """0 if z is the point, otherwise -inf: a log-probability, since a point has no density."""
        different = (z != self.mean).reshape(z.shape[0], -1).any(dim=1)
        return torch.zeros(z.shape[0], dtype=z.dtype, device=z.device).masked_fill(different, -math.inf)

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """The cross-entropy -log p(point), without the infinite constant of the point's entropy: the ELBO is then that
        of a regularized autoencoder (Ghosh et al. 2020, arXiv 1903.12436)."""
        return -prior.log_prob(self.mean)


@dataclass(frozen=True)
class Quantized:
    """One code per position: a one-hot categorical distribution (van den Oord et al. 2017, arXiv 1711.00937)."""

    continuous: Tensor
    """The encoder's output, (b, d, ...)."""
    codes: Codes
    """The indices of the codes, (b, ...); (b, n, ...) for n codes per position."""
    embedded: Tensor
    """The vectors of the codes, (b, d, ...)."""

    @property
    def mean(self) -> Tensor:
        """The embedded codes; gradients pass straight through to the encoder (arXiv 1711.00937, section 3.2)."""
        # In this order the value is exactly the embedded code, since zero is added.
        return self.embedded.detach() + (self.continuous - self.continuous.detach())

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.mean

    def log_prob(self, z: Tensor) -> PerItem:
        return Point(self.embedded).log_prob(z)

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """positions * log(K) for uniform codes: a constant (arXiv 1711.00937, section 3.1)."""
        return -prior.log_prob(self.embedded)
