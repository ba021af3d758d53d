"""A likelihood head for images in interlaced parts: see `vaekit.distributions.Subscale`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions import DiscretizedLogisticMixture, Likelihood, Subscale
from vaekit.nets.part_protocols import NetPart
from vaekit.nets.residual import Block

SIDE = 2
"""Pixels are divided by their positions in squares of this side."""
ORDER = (0, 3, 1, 2)
"""Of the positions in a square, row by row: the second one has the first as diagonal neighbors, and the last two have
neighbors on all sides."""


@dataclass(frozen=True)
class SubscalePart:
    """A mixture of discretized logistic distributions over 256 levels for each value of an 8-bit image, which also
    depends on the pixels of the parts before."""

    components: int = 5
    scale: float = 0.1
    """The initial scale of each component."""
    features: int = 8
    """Outputs of the decoder for each value."""
    width: int = 48
    """Channels of the network of a part."""
    blocks: int = 2
    """Its residual blocks."""
    kind: str = field(default="subscale", init=False)

    def __post_init__(self) -> None:
        if min(self.components, self.features, self.width) < 1 or self.scale <= 0 or self.blocks < 0:
            raise ValueError("components, features and width must be at least 1, scale positive, blocks 0 or more")

    @property
    def outputs(self) -> int:
        return self.features

    def head(self, net: NetPart) -> Callable[[Tensor], Likelihood]:
        geometry = net.geometry
        if geometry.axes != 2 or (geometry.size and any(side % SIDE for side in geometry.size)):
            raise ValueError("a subscale likelihood requires images with even sides")
        return SubscaleHead(self, geometry.channels)


class SubscaleHead(nn.Module):
    """Features of a decoder (b, k c, h, w) -> likelihood of images (b, c, h, w).

    Each part has a network of its own, at half the resolution.

    Args:
        config: its sizes.
        channels: c.
    """

    def __init__(self, config: SubscalePart, channels: int) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        squares = SIDE**2
        inputs = [channels * (squares * config.features + known) for known in range(squares)]
        self.networks = nn.ModuleList(part_network(config, each, channels) for each in inputs)

    def forward(self, features: Tensor) -> Subscale:
        return Subscale(self, F.pixel_unshuffle(features, SIDE), SIDE**2)

    def divide(self, x: Tensor) -> list[Tensor]:
        """The pixels at each position of squares, (b, c, h / 2, w / 2), in the order in which they are predicted."""
        positions = F.pixel_unshuffle(x, SIDE).unflatten(1, (-1, SIDE**2)).unbind(2)
        return [positions[position] for position in ORDER]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of `divide`."""
        positions = [parts[ORDER.index(position)] for position in range(SIDE**2)]
        return F.pixel_shuffle(torch.stack(positions, dim=2).flatten(1, 2), SIDE)

    def part(self, context: Tensor, known: Sequence[Tensor]) -> DiscretizedLogisticMixture:
        """The distribution of the pixels after the known ones."""
        inputs = torch.cat([context, *(each.to(context.dtype) for each in known)], dim=1)
        parameters = self.networks[len(known)](inputs)
        return DiscretizedLogisticMixture.from_parameters(parameters, self.config.components, self.config.scale)


def part_network(config: SubscalePart, inputs: int, channels: int) -> nn.Sequential:
    """The network of a part: features of squares and known pixels (b, inputs, h / 2, w / 2) -> parameters. Its last
    layer is initialized to zero, so that all components start with their initial scale."""
    last = nn.Conv2d(config.width, 3 * config.components * channels, 1)
    for weight in last.parameters():
        nn.init.zeros_(weight)
    blocks = (Block(config.width) for _ in range(config.blocks))
    return nn.Sequential(nn.Conv2d(inputs, config.width, 3, padding=1), *blocks, nn.SiLU(), last)
