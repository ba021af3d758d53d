"""A linear VAE, whose log-likelihood has a closed form."""

import torch
from torch import Tensor, nn

from vaekit.anomaly.scores import Scorer
from vaekit.distributions import Always, DiagonalGaussian, Normal, Point, StandardNormal
from vaekit.evaluation.vae_pass import DirectRunner
from vaekit.vae import VAE

SCALE = 0.5


class Encoder(nn.Module):
    """The mean of the exact posterior, and variances of a diagonal approximation of it."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights
        self.precision = torch.eye(weights.shape[1], dtype=weights.dtype) + weights.T @ weights / SCALE**2

    def forward(self, x: Tensor) -> Tensor:
        mean = x @ self.weights @ torch.linalg.inv(self.precision) / SCALE**2
        return torch.cat([mean, -self.precision.diagonal().log().expand_as(mean)], dim=1)


class Decoder(nn.Module):
    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.weights.T


def weights(columns: int = 6, latents: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.7 * torch.randn(columns, latents, generator=generator, dtype=torch.float64)


def linear_vae(columns: int = 6, latents: int = 3, point: bool = False) -> VAE:
    """p(x|z) = N(W z, SCALE), p(z) = N(0, 1); with `point`, a plain autoencoder."""
    w = weights(columns, latents)
    to_posterior = (lambda m: Point(m[:, :latents])) if point else DiagonalGaussian.from_moments
    prior = None if point else Always(StandardNormal())
    return VAE(Encoder(w), to_posterior, Decoder(w), lambda mean: Normal(mean, SCALE), to_prior=prior)


def log_marginal(x: Tensor) -> Tensor:
    """log p(x) of rows (b, columns): p(x) = N(0, W W' + SCALE^2)."""
    w = weights(x.shape[1])
    covariance = w @ w.T + SCALE**2 * torch.eye(len(w), dtype=w.dtype)
    return torch.distributions.MultivariateNormal(torch.zeros(len(w), dtype=w.dtype), covariance).log_prob(x)


def rows(count: int, seed: int = 0, columns: int = 6, spread: float = 1.0) -> Tensor:
    """Rows of the distribution of the VAE, or of one that is wider by a factor."""
    w = weights(columns)
    generator = torch.Generator().manual_seed(seed)
    z, noise = (torch.randn(count, n, generator=generator, dtype=torch.float64) for n in (w.shape[1], columns))
    return spread * (z @ w.T + SCALE * noise)


def linear_scorer(draws: int = 64, point: bool = False) -> Scorer:
    vae = linear_vae(point=point)
    return Scorer(DirectRunner(vae), vae.prior, draws, dtype=torch.float64)
