"""Statistics of latents: mean and standard deviation of channels, dead and dominant channels, rate, noise.

All are measured on latents (b, z, i, j); a latent vector is a map of one position. Statistics of several images are
summed (`ChannelSums`), so that memory does not grow with their number.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaekit.distributions.base import Posterior, Prior
from vaekit.distributions.posteriors import DiagonalGaussian
from vaekit.metrics.image.spectra import spectra
from vaekit.shapes import Latents, PerItem

PerChannel = Float[Tensor, " z"]

DEAD = 0.01
"""A channel whose variance is below this fraction of the mean variance is dead. Burda, Grosse, Salakhutdinov 2016
(arXiv 1509.00519, section 5.2) count units as inactive below a variance of 0.01; relative here, for latents of any
scale."""
DOMINANT = 0.5
"""A channel that has more than this share of the total variance dominates, if there are at least three channels."""
LATENT_TILE = 32
"""The side of the tiles of a latent's spectrum: 256 pixels of an f8 VAE."""


@dataclass(frozen=True, eq=False)
class ChannelSums:
    """Sums over all positions of all latents so far, in double precision; two of them can be added."""

    count: int
    total: PerChannel
    squares: PerChannel

    def __add__(self, other: "ChannelSums") -> "ChannelSums":
        return ChannelSums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> PerChannel:
        """The mean of each channel. Of normalized latents it is near 0."""
        return self.total / self.count

    @property
    def std(self) -> PerChannel:
        """The standard deviation of each channel. Of normalized latents it is near 1."""
        return (self.squares / self.count - self.mean.square()).clamp(min=0).sqrt()

    @property
    def shares(self) -> PerChannel:
        """The share of each channel in the total variance."""
        variance = self.std.square()
        return variance / variance.sum()

    @property
    def dead(self) -> tuple[int, ...]:
        """The indices of channels that hardly vary (`DEAD`)."""
        return _where(self.shares * len(self.total) < DEAD)

    @property
    def dominant(self) -> tuple[int, ...]:
        """The index of the channel that has most of the variance (`DOMINANT`), if there is one."""
        return _where(self.shares > DOMINANT) if len(self.total) > 2 else ()


def channel_sums(latents: Latents) -> ChannelSums:
    """The sums of latents (b, z, i, j). Of normalized latents (`vaekit.vae.normalize`), mean and standard deviation
    should be 0 and 1.

    >>> sums = channel_sums(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)) + channel_sums(torch.full((1, 1, 1, 2), 2.0))
    >>> sums.mean, sums.std
    (tensor([2.], dtype=torch.float64), tensor([0.7071], dtype=torch.float64))
    """
    values = latents.double().transpose(0, 1).flatten(1)
    return ChannelSums(values.shape[1], values.sum(dim=1), values.square().sum(dim=1))


def _where(mask: Tensor) -> tuple[int, ...]:
    return tuple(int(place) for place in mask.nonzero().flatten())


@dataclass(frozen=True, eq=False)
class Rate:
    """The cost of coding a posterior under a prior."""

    nats: PerItem
    """KL(q(z|x) || p(z)) of each image."""
    bits_per_latent: PerItem
    """The same in bits, per value of the latent."""
    bits_per_pixel: PerItem
    """The same in bits, per pixel of the image."""


def rate(posterior: Posterior, prior: Prior, pixels: int) -> Rate:
    """The KL divergence of a posterior over raw latents from a prior, for images of `pixels` = h w pixels.

        bits = nats / ln 2

    It bounds the information that the latent has about the image (Alemi et al. 2018, "Fixing a broken ELBO", arXiv
    1711.00464). For vector-quantized latents under `UniformCodes` it is the cost of transmitting the codes. The point
    posterior of a plain autoencoder has no rate: its `kl` is a cross-entropy, of which only differences are meaningful.

    >>> from vaekit.distributions import StandardNormal
    >>> q = DiagonalGaussian(torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2))
    >>> rate(q, StandardNormal(), 16 * 16).nats
    tensor([8.])
    """
    nats = posterior.kl(prior)
    bits = nats / math.log(2)
    return Rate(nats, bits / math.prod(posterior.mean.shape[1:]), bits / pixels)


def kl_per_channel(posterior: DiagonalGaussian) -> Float[Tensor, "b z"]:
    """KL(q || N(0, 1)) of each channel in nats for each position, the mean over positions (Kingma and Welling 2014,
    appendix B). A channel near 0 has no information about the image.

    >>> kl_per_channel(DiagonalGaussian(torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)))
    tensor([[0.5000, 0.5000]])
    """
    mean, log_variance = posterior.mean, posterior.log_variance
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).reshape(*mean.shape[:2], -1).mean(dim=2)


def latent_noise(latents: Latents) -> PerItem:
    """The share of the spectral power of latents (b, z, i, j) above half of the Nyquist frequency.

        share = sum_{r > 1/4} S / sum_{r > 0} S,  the mean over channels

    with the Hann-windowed spectra of `spectra`, r the radial frequency in cycles per latent position. No unit, 0 to 1:
    white noise has 0.80, latents of 1/f amplitude about 0.25. Lower is easier for a diffusion model (Skorokhodov et al.
    2025, "Improving the diffusability of autoencoders", arXiv 2502.14831). NaN for a constant latent, or
    one with fewer than 4 positions per side. Channels that do not vary are left out.

    Published tables of "noise in latents" (27.5 for SDXL's VAE) give no definition; their values are not comparable.

    >>> noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> latent_noise(noise).round(decimals=1)
    tensor([0.8000])
    """
    count, channels, *sides = latents.shape
    if min(sides) < 4:
        return torch.full((count,), math.nan, device=latents.device)
    planes = latents.float().flatten(0, 1)
    spectrum = spectra(planes, planes, LATENT_TILE)
    power = spectrum.x * spectrum.multiplicity
    # Means of tiles are subtracted, but the window spreads low frequencies into the zero frequency.
    whole = power[:, spectrum.radius > 0].sum(dim=1)
    shares = power[:, spectrum.radius > 0.25].sum(dim=1) / whole
    varies = whole > 1e-12 * planes.square().mean(dim=(1, 2)).clamp(min=1e-30) * spectrum.radius.numel()
    return shares.masked_fill(~varies, math.nan).view(count, channels).nanmean(dim=1)
