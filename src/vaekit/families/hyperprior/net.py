"""Transform coding with a hyperprior: a codec of images with one quality knob."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.distributions import Normal
from vaekit.geometry import Geometry
from vaekit.nets.hyperprior import HyperpriorConfig
from vaekit.nets.transform_coding import BLOCK, FACTOR, Decoder, Encoder


@dataclass(frozen=True)
class HyperpriorVAEConfig:
    """The shape of a codec."""

    image_channels: int
    slices: tuple[int, ...]
    """The channels of values in each slice of the prior."""
    hidden: int
    """The width within residual blocks."""
    encoder_blocks: int
    decoder_blocks: int
    filter_width: int
    """The width of the last blocks, on squares of 2x2 pixels."""
    prior_hidden: int
    summary_channels: int
    slice_width: int
    """Of the prior, see `HyperpriorConfig`."""

    @property
    def values(self) -> int:
        """Channels of the latents, without that of the step."""
        return sum(self.slices)

    @property
    def block_width(self) -> int:
        """Values of a block of 8x8 pixels."""
        return self.image_channels * BLOCK**2

    @property
    def prior(self) -> HyperpriorConfig:
        """The config of the prior."""
        return HyperpriorConfig(self.slices, self.prior_hidden, self.summary_channels, self.slice_width)

    @property
    def latent_channels(self) -> int:
        """Values, and the step."""
        return self.values + 1

    @property
    def geometry(self) -> Geometry:
        """Images of any size."""
        return Geometry(self.image_channels, self.latent_channels, (FACTOR, FACTOR))

    @property
    def blocks(self) -> int:
        """Blocks of the larger half."""
        return max(self.encoder_blocks, self.decoder_blocks)


def likelihood(outputs: Tensor) -> Normal:
    """p(x|z), with the variance of the noise of rounding."""
    return Normal(outputs[:, :-1], torch.exp2(outputs[:, -1:]))


def build(config: HyperpriorVAEConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
