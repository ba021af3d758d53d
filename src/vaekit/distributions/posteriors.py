"""The posteriors q(z|x): a Gaussian, a point, and a cell of a vector quantizer."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions.base import Prior, standard_noise, sum_items
from vaekit.distributions.priors import StandardNormal
from vaekit.shapes import Codes, PerItem

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""Log-variances are clamped to this range, as every latent-diffusion autoencoder does: exp() stays finite in fp32."""


@dataclass(frozen=True)
class DiagonalGaussian:
    """q(z|x) = N(mean, exp(log_variance)), independent per element (Kingma & Welling 2014, arXiv 1312.6114)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def from_moments(cls, moments: Tensor) -> "DiagonalGaussian":
        """Split an encoder's output (b, 2z, ...) into mean (first z channels) and clamped log-variance (last z),
        in single precision at least."""
        exact = moments.to(torch.promote_types(moments.dtype, torch.float32))
        mean, log_variance = exact.chunk(2, dim=1)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    @property
    def mode(self) -> Tensor:
        return self.mean

    @property
    def std(self) -> Tensor:
        return torch.exp(0.5 * self.log_variance)

    def sample(self, generator: Generator | None = None) -> Tensor:
        """mean + std * noise: the reparameterisation trick (arXiv 1312.6114, section 2.4)."""
        return self.mean + self.std * standard_noise(self.mean, generator)

    def log_prob(self, z: Tensor) -> PerItem:
        squared = (z - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * sum_items(squared + self.log_variance + math.log(2 * math.pi))

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """Closed form for the standard normal (arXiv 1312.6114, appendix B); else one reparameterised sample."""
        if isinstance(prior, StandardNormal):
            return sum_items(self.elementwise_kl())
        z = self.sample(generator)
        return self.log_prob(z) - prior.log_prob(z)

    def elementwise_kl(self) -> Tensor:
        """KL of every element from N(0, 1), (b, ...): (mean^2 + variance - 1 - log variance) / 2."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance)


@dataclass(frozen=True)
class Point:
    """All the mass on one latent: the posterior of a plain autoencoder."""

    mean: Tensor

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.mean

    def log_prob(self, z: Tensor) -> PerItem:
        """0 where z is the point, -inf elsewhere: a probability, since a point has no density."""
        away = (z != self.mean).reshape(z.shape[0], -1).any(dim=1)
        return torch.zeros(z.shape[0], dtype=z.dtype, device=z.device).masked_fill(away, -math.inf)

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """The cross-entropy -log p(point): the point's own entropy is an infinite constant and is left out,
        which makes the ELBO that of a regularized autoencoder (Ghosh et al. 2020, arXiv 1903.12436)."""
        return -prior.log_prob(self.mean)


@dataclass(frozen=True)
class Quantized:
    """One cell of a codebook per position: a one-hot categorical (van den Oord et al. 2017, arXiv 1711.00937)."""

    continuous: Tensor
    """What the encoder said, (b, d, ...); the commitment loss pulls it towards `embedded`."""
    codes: Codes
    """The chosen indices, (b, ...); (b, n, ...) where each position has n of them."""
    embedded: Tensor
    """What they stand for, (b, d, ...)."""

    @property
    def mean(self) -> Tensor:
        """The embedded codes; gradients pass straight through to the encoder (arXiv 1711.00937, section 3.2)."""
        # In this order the value is the embedded code to the last bit: what is added is exactly zero.
        return self.embedded.detach() + (self.continuous - self.continuous.detach())

    @property
    def mode(self) -> Tensor:
        return self.mean

    def sample(self, generator: Generator | None = None) -> Tensor:
        return self.mean

    def log_prob(self, z: Tensor) -> PerItem:
        return Point(self.embedded).log_prob(z)

    def kl(self, prior: Prior, generator: Generator | None = None) -> PerItem:
        """positions * log(K) under uniform codes: what the codes cost to send, a constant (arXiv 1711.00937, 3.1)."""
        return -prior.log_prob(self.embedded)
