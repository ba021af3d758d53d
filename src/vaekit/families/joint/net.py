"""JointVAE (Dupont 2018, arXiv 1804.00104): a latent of continuous and categorical variables.

As published in Schlumberger/joint-vae. Attribute names are the keys of the published files, inside their half. A latent
is one vector: the continuous values, then a one-hot vector for each categorical variable.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaekit.geometry import Geometry
from vaekit.nets.flat import (
    LOWEST,
    FlatConfig,
    as_map,
    as_probabilities,
    as_vector,
    doubling,
    halving,
    unfold,
    vector_geometry,
)
from vaekit.shapes import Images, Latents, Moments


@dataclass(frozen=True)
class JointConfig(FlatConfig):
    """The shape of a JointVAE: twice the first width at the two lowest resolutions."""

    continuous: int
    """The number of Gaussian elements in the latent."""
    categories: tuple[int, ...]
    """The number of categories of each categorical variable."""

    @property
    def latent_channels(self) -> int:
        """Elements of the latent: the Gaussian ones, and one for each category of each variable."""
        return self.continuous + sum(self.categories)

    @property
    def geometry(self) -> Geometry:
        """Square images of a fixed size, and a latent map with one position."""
        return vector_geometry(self.image_channels, self.latent_channels, self.image_size)


def rectified(layers: list[nn.Module]) -> list[nn.Module]:
    """A ReLU after each layer: it has an index in the `nn.Sequential`, which affects the keys."""
    return [each for layer in layers for each in (layer, nn.ReLU())]


class Encoder(nn.Module):
    """Images (b, c, s, s) in [-1, 1] -> moments (b, 2n + k, 1, 1): means and log-variances of the n continuous
    elements, then the logits of all categories."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        low = 2 * config.width
        widths = (config.image_channels, *[config.width] * (config.levels - 2), low, low)
        self.img_to_features = nn.Sequential(*rectified([halving(a, b) for a, b in pairwise(widths)]))
        self.features_to_hidden = nn.Sequential(*rectified([nn.Linear(low * LOWEST**2, config.hidden)]))
        self.fc_mean = nn.Linear(config.hidden, config.continuous)
        self.fc_log_var = nn.Linear(config.hidden, config.continuous)
        self.fc_alphas = nn.ModuleList(nn.Linear(config.hidden, size) for size in config.categories)

    def forward(self, x: Images) -> Moments:
        hidden = self.features_to_hidden(self.img_to_features(as_probabilities(x)).flatten(1))
        said: list[Tensor] = [layer(hidden) for layer in (self.fc_mean, self.fc_log_var, *self.fc_alphas)]
        return as_map(torch.cat(said, dim=1))


class Decoder(nn.Module):
    """Raw latents (b, z, 1, 1) -> logits of white pixels (b, c, s, s)."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        low = 2 * config.width
        self.latent_to_features = nn.Sequential(
            *rectified([nn.Linear(config.latent_channels, config.hidden), nn.Linear(config.hidden, low * LOWEST**2)])
        )
        widths = (*[low] * (config.levels - 2), config.width, config.width, config.image_channels)
        self.features_to_img = nn.Sequential(*rectified([doubling(a, b) for a, b in pairwise(widths)])[:-1])

    def forward(self, z: Latents) -> Images:
        return self.features_to_img(unfold(self.latent_to_features(as_vector(z))))


def build(config: JointConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
