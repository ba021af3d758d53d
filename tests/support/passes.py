"""Forward passes of VAEs whose posteriors are given."""

import torch
from torch import Generator, Tensor, nn

from vaekit.distributions import Always, DiagonalGaussian, Normal, Prior, StandardNormal
from vaekit.training.objectives import Pass
from vaekit.vae import VAE


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def gaussian_pass(mean: Tensor, log_variance: Tensor, prior: Prior | None = None) -> Pass:
    """A pass with this posterior; the prior is N(0, 1) if none is given."""
    moments = torch.cat([mean, log_variance], dim=1)
    head = Always(StandardNormal() if prior is None else prior)
    vae = VAE(nn.Identity(), DiagonalGaussian.from_moments, nn.Identity(), Normal, to_prior=head)
    return Pass(vae, moments, 0, seeded())


def random_pass(shape: tuple[int, ...], count: int = 8, prior: Prior | None = None) -> Pass:
    """A pass with random Gaussian posteriors over latents of a shape (without the batch)."""
    mean, log_variance = (torch.randn(count, *shape, generator=seeded(seed)) for seed in (1, 2))
    return gaussian_pass(mean, log_variance - 1, prior)
