"""Fully connected encoders and decoders for data of any shape: the nets of the first VAEs (Kingma & Welling 2014, arXiv
1312.6114, appendix C), and of tables.

The latent of an image has the shape of a map with one position, (b, z, 1, 1), like all other latents of images; that of
other data is a vector (b, z).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.nets.flat import as_map, as_probabilities

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": F.tanh, "relu": F.relu, "silu": F.silu, "gelu": F.gelu}


@dataclass(frozen=True)
class MLPConfig:
    """The architecture of encoder and decoder."""

    data_shape: tuple[int, ...]
    """The shape of an item: (c, h, w) for images, (n,) for rows of a table."""
    latent_channels: int
    hidden: tuple[int, ...]
    """The widths of the encoder's hidden layers; the decoder has them in reverse order."""
    activation: str = "tanh"
    """The activation between layers: "tanh", "relu", "silu" or "gelu"."""
    kind: str = field(default="mlp", init=False)

    def __post_init__(self) -> None:
        if min(self.latent_channels, *self.data_shape, *self.hidden) < 1:
            raise ValueError("data_shape, latent_channels and hidden must be at least 1")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {self.activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if len(self.data_shape) not in (1, 3) or (len(self.data_shape) == 3 and len(set(self.data_shape[1:])) != 1):
            raise ValueError(f"data of shape {self.data_shape} are neither rows nor square images")

    @property
    def geometry(self) -> Geometry:
        """Images of one size with a latent map of one position, or rows with a channel per column and a global
        latent."""
        size = self.data_shape[1:]
        return Geometry(self.data_shape[0], self.latent_channels, size, size or None)

    @property
    def blocks(self) -> int:
        """The number of layers of each half."""
        return len(self.hidden) + 1

    def build(self, moments: int, outputs: int) -> tuple["Encoder", "Decoder"]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` decoder outputs per data
        value."""
        return Encoder(self, moments), Decoder(self, outputs)


class Encoder(nn.Module):
    """Data (b, ...) -> moments: (b, m z, 1, 1) for images, (b, m z) for rows.

    Images in [-1, 1] are scaled to [0, 1]: most pixels of typical data are black, and constant inputs of -1 would act
    as 784 additional biases.
    """

    def __init__(self, config: MLPConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        widths = (math.prod(config.data_shape), *config.hidden)
        self.hidden = layers(widths)
        self.out = nn.Linear(widths[-1], moments * config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        is_image = self.config.geometry.axes == 2
        values = as_probabilities(x) if is_image else x
        moments = self.out(through(self.hidden, values.flatten(1), self.config))
        return as_map(moments) if is_image else moments


class Decoder(nn.Module):
    """Raw latents -> parameters: (b, k c, h, w) for images, (b, k n) for rows."""

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
        """Set the last bias to parameters (c, ...), so that the output is about this for every latent. Further outputs,
        such as scales, do not change."""
        with torch.no_grad():
            self.out.bias[: parameters.numel()] = parameters.flatten()


def layers(widths: tuple[int, ...]) -> nn.ModuleList:
    """Linear layers between consecutive widths."""
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))


def through(hidden: nn.ModuleList, h: Tensor, config: MLPConfig) -> Tensor:
    """Apply layers, each followed by the activation."""
    activation = ACTIVATIONS[config.activation]
    for layer in hidden:
        h = activation(layer(h))
    return h
