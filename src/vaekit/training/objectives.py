"""What a training step minimises, as a record with named parts.

A beta-VAE, an LDM-style autoencoder or a plain autoencoder differ here and nowhere else: same model, other objective.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vaekit.distributions import Prior
from vaekit.metrics.lpips import LPIPS
from vaekit.vae import VAE


@dataclass(frozen=True)
class Losses:
    """One number to minimise and the parts it is made of, each averaged over the batch."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class PictureObjective:
    """The negative ELBO per dimension plus a perceptual term: the first stage of latent diffusion without its GAN
    (Rombach et al. 2022, arXiv 2112.10752, appendix G).

        total = ( -log p(x|z) + beta * KL(q(z|x) || p(z)) ) / dimensions + perceptual_weight * LPIPS(x, mode)

    With a Laplace likelihood of scale s the first term is L1 / s plus a constant.
    """

    prior: Prior
    perceptual: LPIPS
    beta: float
    """Weight of the KL term; 1 is the true ELBO."""
    perceptual_weight: float

    def __call__(self, vae: VAE, x: Tensor, generator: Generator) -> Losses:
        """Losses of a batch of pictures (b, 3, h, w) in [-1, 1]."""
        posterior = vae.encode(x)
        likelihood = vae.likelihood(posterior.sample(generator))
        dimensions = x[0].numel()
        nll = -likelihood.log_prob(x).mean() / dimensions
        kl = posterior.kl(self.prior, generator).mean() / dimensions
        perceptual = self.perceptual(x, likelihood.mode).mean()
        total = nll + self.beta * kl + self.perceptual_weight * perceptual
        squared_error = (likelihood.mode.detach() - x).square().mean()
        psnr = -10 * torch.log10(squared_error / 4)
        return Losses(total, {"nll": nll, "kl": kl, "lpips": perceptual, "psnr": psnr})
