"""The VAE of Burgess et al. 2018 (arXiv 1804.03599) as published in YannDubs/disentangling-vae.

The same networks were trained with the objectives of beta-VAE, beta-TCVAE, FactorVAE and the plain VAE; files do not
state which. Attribute names are the keys of the published files.
"""

from dataclasses import dataclass

import torch
from torch import nn

from vaekit.geometry import Geometry
from vaekit.nets.flat import (
    LOWEST,
    FlatConfig,
    as_map,
    as_probabilities,
    as_vector,
    doubling,
    halving,
    through,
    unfold,
    vector_geometry,
)
from vaekit.shapes import Images, Latents, Moments

LARGE = 64
"""The image size for which each half has one more convolution; other images are half as large."""


@dataclass(frozen=True)
class BurgessConfig(FlatConfig):
    """The shape of such a VAE: one width throughout."""

    latent_channels: int

    @property
    def geometry(self) -> Geometry:
        """Square images of a fixed size, and a latent map with one position."""
        return vector_geometry(self.image_channels, self.latent_channels, self.image_size)


class Encoder(nn.Module):
    """Images (b, c, s, s) in [-1, 1] -> moments (b, 2z, 1, 1): means, then log-variances."""

    def __init__(self, config: BurgessConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = halving(config.image_channels, config.width)
        self.conv2 = halving(config.width, config.width)
        self.conv3 = halving(config.width, config.width)
        self.conv_64 = halving(config.width, config.width) if config.image_size == LARGE else nn.Identity()
        self.lin1 = nn.Linear(config.width * LOWEST**2, config.hidden)
        self.lin2 = nn.Linear(config.hidden, config.hidden)
        self.mu_logvar_gen = nn.Linear(config.hidden, 2 * config.latent_channels)

    def forward(self, x: Images) -> Moments:
        features = through([self.conv1, self.conv2, self.conv3, self.conv_64], as_probabilities(x))
        h = through([self.lin1, self.lin2], features.flatten(1))
        # The published weights interleave mean and log-variance.
        mean, log_variance = self.mu_logvar_gen(h).unflatten(1, (-1, 2)).unbind(-1)
        return as_map(torch.cat([mean, log_variance], dim=1))


class Decoder(nn.Module):
    """Raw latents (b, z, 1, 1) -> logits of white pixels (b, c, s, s)."""

    def __init__(self, config: BurgessConfig) -> None:
        super().__init__()
        self.config = config
        self.lin1 = nn.Linear(config.latent_channels, config.hidden)
        self.lin2 = nn.Linear(config.hidden, config.hidden)
        self.lin3 = nn.Linear(config.hidden, config.width * LOWEST**2)
        self.convT_64 = doubling(config.width, config.width) if config.image_size == LARGE else nn.Identity()
        self.convT1 = doubling(config.width, config.width)
        self.convT2 = doubling(config.width, config.width)
        self.convT3 = doubling(config.width, config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = unfold(through([self.lin1, self.lin2, self.lin3], as_vector(z)))
        return self.convT3(through([self.convT_64, self.convT1, self.convT2], h))


def build(config: BurgessConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
