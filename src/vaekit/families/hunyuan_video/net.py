"""The video autoencoder of HunyuanVideo 1.0, Kandinsky 5 and FramePack (arXiv 2412.03603), run on still images.

The architecture is that of the kl family, with convolutions over time (`single_frame`), replication as padding, and
halving by a convolution that is padded on all sides. The norms compute their statistics over all frames, and attention
covers all frames up to the own: for one frame these are the norms and the attention of an image.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.levels import LevelsConfig
from vaekit.families.single_frame import Attention, Level, Middle, RepeatedFrameConv, run_levels
from vaekit.shapes import Images, Latents, Moments

NORM_GROUPS = 32
"""Groups of every GroupNorm in the published model. Shapes do not determine it."""
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class HunyuanVideoConfig(LevelsConfig):
    """The shape of a HunyuanVideo autoencoder; the published encoder has the widths 128, 256, 512, 512."""

    mid_attention: bool


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of both halves."""
    return nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPSILON)


def middle(channels: int, attention: bool) -> Middle:
    """The layers at the lowest resolution."""
    return Middle(channels, group_norm, attention=Attention(channels, group_norm, nn.Conv2d) if attention else None)


class Downsample(nn.Module):
    """Halve the resolution with a strided convolution, padded on all sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = RepeatedFrameConv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Nearest-2x upsampling and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = RepeatedFrameConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def levels(widths: tuple[int, ...], blocks: int, resample: type[Downsample | Upsample]) -> nn.ModuleList:
    """The levels of one half."""
    ends = [*map(resample, widths[:-1]), None]
    pairs = pairwise((widths[0], *widths))
    return nn.ModuleList(Level(a, b, blocks, group_norm, end) for (a, b), end in zip(pairs, ends, strict=True))


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last."""

    def __init__(self, config: HunyuanVideoConfig) -> None:
        super().__init__()
        self.config = config
        widths, moments = config.encoder_widths, 2 * config.latent_channels
        self.conv_in = RepeatedFrameConv(config.image_channels, widths[0])
        self.levels = levels(widths, config.encoder_blocks, Downsample)
        self.mid = middle(widths[-1], config.mid_attention)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = RepeatedFrameConv(widths[-1], moments)
        self.quant_conv = RepeatedFrameConv(moments, moments, 1)

    def forward(self, x: Images) -> Moments:
        h = self.mid(run_levels(self.levels, self.conv_in(x)))
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(h))))


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j)."""

    def __init__(self, config: HunyuanVideoConfig) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.decoder_widths, config.latent_channels
        self.post_quant_conv = RepeatedFrameConv(latent, latent, 1)
        self.conv_in = RepeatedFrameConv(latent, widths[0])
        self.mid = middle(widths[0], config.mid_attention)
        self.levels = levels(widths, config.decoder_blocks, Upsample)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = RepeatedFrameConv(widths[-1], config.image_channels)

    def forward(self, z: Latents) -> Images:
        h = run_levels(self.levels, self.mid(self.conv_in(self.post_quant_conv(z))))
        return self.conv_out(F.silu(self.norm_out(h)))


def build(config: HunyuanVideoConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
