"""The halves of video autoencoders with spatially adaptive norms, as in KVAE, run on a single frame.

Convolutions are padded with zeros in space. The norms of the decoder scale and shift every position by the latent.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from vaekit.families.kvae.net import SpatialNorm
from vaekit.families.levels import LevelsConfig
from vaekit.families.single_frame import Level, Middle, Norm, Padding, RepeatedFrameConv, run_levels
from vaekit.shapes import Images, Latents, Moments

PADDING: Padding = "zeros"


def conv3x3(in_channels: int, out_channels: int) -> RepeatedFrameConv:
    """A convolution that preserves the size of an image."""
    return RepeatedFrameConv(in_channels, out_channels, padding=PADDING)


def spatial_norm(norm: Norm, latent_channels: int, enlarge: int) -> Norm:
    """The norms of the decoder at one resolution: `enlarge` positions per latent position along each side."""
    return lambda channels: SpatialNorm(channels, latent_channels, enlarge, norm, RepeatedFrameConv)


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last.

    Args:
        config: the shape of the autoencoder.
        norm: creates the norms.
        starts: the input channels of each level.
        resamplers: the last layers of all levels but the last.
    """

    def __init__(
        self, config: LevelsConfig, norm: Norm, starts: Sequence[int], resamplers: Iterable[nn.Module]
    ) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv_in = conv3x3(config.image_channels, widths[0])
        self.levels = nn.ModuleList(
            Level(a, b, config.encoder_blocks, norm, end, PADDING)
            for a, b, end in zip(starts, widths, [*resamplers, None], strict=True)
        )
        self.mid = Middle(widths[-1], norm, PADDING)
        self.norm_out = norm(widths[-1])
        self.conv_out = conv3x3(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Images) -> Moments:
        h = self.mid(run_levels(self.levels, self.conv_in(x)))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j).

    Args:
        config: the shape of the autoencoder.
        norm: creates the norms before they are scaled and shifted.
        resamplers: the last layers of all levels but the last.
    """

    def __init__(self, config: LevelsConfig, norm: Norm, resamplers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.decoder_widths, config.latent_channels
        norms = [spatial_norm(norm, latent, 2**i) for i in range(len(widths))]
        self.conv_in = conv3x3(latent, widths[0])
        self.mid = Middle(widths[0], norms[0], PADDING)
        self.levels = nn.ModuleList(
            Level(a, b, config.decoder_blocks, each, end, PADDING)
            for (a, b), each, end in zip(pairwise((widths[0], *widths)), norms, [*resamplers, None], strict=True)
        )
        self.norm_out = norms[-1](widths[-1])
        self.conv_out = conv3x3(widths[-1], config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = run_levels(self.levels, self.mid(self.conv_in(z), z), z)
        return self.conv_out(F.silu(self.norm_out(h, z)))
