"""Nets for transform coding of images: an orthonormal transform at first, with residual blocks within.

The encoder maps blocks of 16x16 pixels to values that are rounded and coded, as JPEG does. How finely values are
rounded is the last channel of the latents (see `vaekit.distributions.stepped`), so that one pair of nets has all
qualities. The decoder adjusts to it, and its last blocks see the pixels of neighboring blocks.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.distributions.stepped import split_step
from vaekit.nets.config import Config
from vaekit.shapes import Images, Latents, Moments

BLOCK = 8
"""The side of the first transform's blocks."""
FACTOR = 2 * BLOCK
FINEST, COARSEST = -4.0, 1.0
"""The binary logarithms of the steps of the best and the worst quality, in units of pixels from -1 to 1: 8 and 255 of
the 255 shades."""
QUALITY = 50.0
"""The quality, from 0 to 100, in which `encode` works unless another one is set."""
NOISE = -0.5 * math.log2(12)
"""The binary logarithm of sqrt(1/12), the standard deviation of uniform noise."""


@runtime_checkable
class TransformConfig(Config, Protocol):
    """The shape of the nets."""

    @property
    def image_channels(self) -> int: ...

    @property
    def values(self) -> int:
        """Channels of the latents, without that of the step."""

    @property
    def hidden(self) -> int:
        """The width within residual blocks."""

    @property
    def encoder_blocks(self) -> int: ...

    @property
    def decoder_blocks(self) -> int: ...

    @property
    def filter_width(self) -> int:
        """The width of the last blocks, on squares of 2x2 pixels."""

    @property
    def block_width(self) -> int:
        """Values of a block of 8x8 pixels."""


class Block(nn.Module):
    """x + three convolutions of x; the identity at initialization. `given` channels of the input are not changed."""

    def __init__(self, channels: int, width: int, given: int = 0) -> None:
        super().__init__()
        self.channels = channels
        self.conv1 = nn.Conv2d(channels + given, width, 1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, channels, 1)
        silence(self.conv3)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        h = self.conv1(x if given is None else torch.cat([x, given], dim=1))
        return x + self.conv3(F.relu(self.conv2(F.relu(h))))


class Encoder(nn.Module):
    """Images (b, c, h, w) in [-1, 1] -> values and log-steps (b, z, h / 16, w / 16).

    In training, each batch has a step at random.
    """

    log_step: Tensor
    """The binary logarithm of the step, (1, 1, 1, 1)."""

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.config = config
        width = config.block_width
        self.register_buffer("log_step", torch.full((1, 1, 1, 1), log_step_of(QUALITY)))
        self.conv_in = nn.Conv2d(config.image_channels, width, BLOCK, stride=BLOCK)
        self.blocks = nn.ModuleList(Block(width, config.hidden, 1) for _ in range(config.encoder_blocks))
        self.conv_out = nn.Conv2d(width, config.values, 2, stride=2)

    def forward(self, x: Images) -> Moments:
        log_step = self.log_step
        if self.training:
            log_step = FINEST + (COARSEST - FINEST) * torch.rand_like(log_step)
        h = self.conv_in(x)
        step = h[:, :1] * 0 + log_step
        for block in self.blocks:
            h = block(h, step)
        h = self.conv_out(h)
        return torch.cat([h, h[:, :1] * 0 + log_step], dim=1)


class Decoder(nn.Module):
    """Latents (b, z, i, j) -> images and the binary logarithms of standard deviations, (b, c + 1, 16 i, 16 j)."""

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        self.config = config
        width, filter_width = config.block_width, config.filter_width
        self.conv_in = nn.Conv2d(config.values, 4 * width, 1)
        self.blocks = nn.ModuleList(Block(width, config.hidden, 1) for _ in range(config.decoder_blocks))
        self.conv_out = nn.Conv2d(width, width, 1)
        self.filter_in = nn.Conv2d(4 * config.image_channels + 1, filter_width, 3, padding=1)
        self.filter_middle = nn.Conv2d(filter_width, filter_width, 3, padding=1)
        self.filter_out = nn.Conv2d(filter_width, 4 * config.image_channels, 3, padding=1)
        silence(self.filter_out)

    def forward(self, z: Latents) -> Images:
        values, log_step = split_step(z)
        step = repeated(log_step, 2)
        h = F.pixel_shuffle(self.conv_in(values), 2)
        for block in self.blocks:
            h = block(h, step)
        squares = F.pixel_shuffle(self.conv_out(h), BLOCK // 2)
        h = F.relu(self.filter_in(torch.cat([squares, repeated(log_step, BLOCK)], dim=1)))
        squares = squares + self.filter_out(F.relu(self.filter_middle(h)))
        return torch.cat([F.pixel_shuffle(squares, 2), repeated(log_step, FACTOR) + NOISE], dim=1)


def repeated(x: Tensor, times: int) -> Tensor:
    """Each position as a square of positions."""
    return F.interpolate(x, scale_factor=float(times), mode="nearest")


def silence(layer: nn.Conv2d) -> None:
    """Set a layer to zero."""
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def log_step_of(quality: float) -> float:
    """The binary logarithm of the step of a quality from 0 to 100."""
    return COARSEST + (FINEST - COARSEST) * quality / 100
