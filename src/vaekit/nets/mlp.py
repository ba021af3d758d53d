"""Fully connected encoders and decoders, for data of any shape: the nets of the first VAEs (Kingma & Welling 2014,
arXiv 1312.6114, appendix C), and of tables.

The latent of an image stands in a map of one position, (b, z, 1, 1), so that it travels like every other latent; that
of other data is a vector (b, z).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.nets.flat import as_map, chances

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": F.tanh, "relu": F.relu, "silu": F.silu, "gelu": F.gelu}


@dataclass(frozen=True)
class MLPConfig:
    """The shape of such a pair."""

    data_shape: tuple[int, ...]
    """Of one item: (c, h, w) of an image, (n,) of a row of a table."""
    latent_channels: int
    hidden: tuple[int, ...]
    """Widths of the hidden layers, from the data inwards; the decoder has them the other way round."""
    activation: str = "tanh"
    """Between layers: "tanh", "relu", "silu" or "gelu"."""
    kind: str = field(default="mlp", init=False)

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is none of {', '.join(ACTIVATIONS)}")
        if len(self.data_shape) not in (1, 3) or (len(self.data_shape) == 3 and len(set(self.data_shape[1:])) != 1):
            raise ValueError(f"data of shape {self.data_shape} are neither rows nor square images")

    @property
    def geometry(self) -> Geometry:
        """Images of one size and a latent map of one position; or rows, with a channel for each column, and a global
        latent."""
        size = self.data_shape[1:]
        return Geometry(self.data_shape[0], self.latent_channels, size, size or None)

    @property
    def blocks(self) -> int:
        """Layers of each half."""
        return len(self.hidden) + 1

    def build(self, moments: int, outputs: int) -> tuple["Encoder", "Decoder"]:
        """Both halves: an encoder that says so many numbers of a latent, a decoder that says so many of a value."""
        return Encoder(self, moments), Decoder(self, outputs)


class Encoder(nn.Module):
    """Data (b, ...) -> moments (b, m z, 1, 1) of images, (b, m z) of rows.

    Images in [-1, 1] go in as 0..1: most pixels of what such nets are shown are black, and a layer that sees -1
    everywhere learns its biases 784 times over.
    """

    def __init__(self, config: MLPConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        widths = (math.prod(config.data_shape), *config.hidden)
        self.hidden = layers(widths)
        self.out = nn.Linear(widths[-1], moments * config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        of_images = self.config.geometry.axes == 2
        values = chances(x) if of_images else x
        moments = self.out(through(self.hidden, values.flatten(1), self.config))
        return as_map(moments) if of_images else moments


class Decoder(nn.Module):
    """Raw latents -> parameters: (b, k c, h, w) of images, (b, k n) of rows."""

    def __init__(self, config: MLPConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        widths = (config.latent_channels, *reversed(config.hidden))
        self.hidden = layers(widths)
        self.out = nn.Linear(widths[-1], outputs * math.prod(config.data_shape))

    def forward(self, z: Tensor) -> Tensor:
        parameters = self.out(through(self.hidden, z.flatten(1), self.config))
        return parameters.unflatten(1, (-1, *self.config.data_shape[1:]))

    def set_initial_output(self, parameters: Tensor) -> None:
        """Set the last bias, so that it says about this (c, ...) for every latent; what comes beside means stays."""
        with torch.no_grad():
            self.out.bias[: parameters.numel()] = parameters.flatten()


def layers(widths: tuple[int, ...]) -> nn.ModuleList:
    """One linear layer from each width to the next."""
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))


def through(hidden: nn.ModuleList, h: Tensor, config: MLPConfig) -> Tensor:
    """Each layer and the activation behind it."""
    activation = ACTIVATIONS[config.activation]
    for layer in hidden:
        h = activation(layer(h))
    return h
