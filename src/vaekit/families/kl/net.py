"""The convolutional autoencoder of latent diffusion: SD1, SDXL, SD3, FLUX.1, FLUX.2 and the LDM originals.

One architecture, configured by shapes: any widths, any number of levels, attention in levels, in the middle or nowhere,
with or without the 1x1 convolutions around the latent. Attribute names are the keys of the original LDM checkpoints
(Rombach et al. 2022, arXiv 2112.10752), with the 1x1 convolutions inside their half.

Some fine-tunes use reflection padding where the originals pad with zeros. The published
recipe (the model card of Anzhc's MS-LC-EQ-D-VR VAE; Jelosus2/comfyui-vae-reflection; 67372a/sd-scripts#204) sets
`padding_mode` on every convolution whose `padding` is not zero. The strided convolutions of `Downsample` have no
padding, so their one-sided padding is zero in both modes.

The nets are independent of the VAE: the encoder returns moments, the decoder an image.
"""

from dataclasses import dataclass, field
from itertools import pairwise, zip_longest

from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.padding import PADDINGS, REFLECT, ZEROS
from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents, Moments

NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class KLConfig:
    """The shape of a KL autoencoder. Levels are listed from full resolution downwards, in both halves."""

    image_channels: int
    latent_channels: int
    """Channels of the raw latents z."""
    hidden_channels: int
    """Channels between the trunks and the 1x1 convolutions ("z_channels"); equals `latent_channels` without them."""
    encoder_widths: tuple[int, ...]
    decoder_widths: tuple[int, ...]
    encoder_blocks: int
    """Residual blocks per level of the encoder."""
    decoder_blocks: int
    """Residual blocks per level of the decoder; the published models have one more than in the encoder."""
    encoder_attention: tuple[int, ...]
    """Levels whose residual blocks are each followed by attention."""
    decoder_attention: tuple[int, ...]
    mid_attention: bool
    quant_conv: bool
    post_quant_conv: bool
    norm_groups: int
    """Groups of every GroupNorm: 32 in all published models. Weights do not determine it."""
    padding: str = field(default=ZEROS, kw_only=True)
    """The padding of the 3x3 convolutions, "zeros" or "reflect". Weights do not determine it."""

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise ValueError(f"unknown padding {self.padding!r}; expected one of {', '.join(PADDINGS)}")

    @property
    def geometry(self) -> Geometry:
        """Images of any size; every level except the last halves the resolution. Reflection needs at least two rows."""
        factor = 2 ** (len(self.encoder_widths) - 1)
        least = 2 if self.padding == REFLECT else 1
        return Geometry(self.image_channels, self.latent_channels, (factor, factor), least_positions=least)

    @property
    def blocks(self) -> int:
        """Residual blocks of the larger half."""
        sides = (self.encoder_widths, self.encoder_blocks), (self.decoder_widths, self.decoder_blocks)
        return max(len(widths) * blocks for widths, blocks in sides)


def conv3x3(in_channels: int, out_channels: int, padding: str) -> nn.Conv2d:
    """A 3x3 convolution that preserves the size of the map."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect" if padding == REFLECT else "zeros")


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution on the shortcut where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, padding: str = ZEROS) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=NORM_EPSILON)
        self.conv1 = conv3x3(in_channels, out_channels, padding)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=NORM_EPSILON)
        self.conv2 = conv3x3(out_channels, out_channels, padding)
        self.nin_shortcut = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


class Attention(nn.Module):
    """Single-head self-attention over all positions, as wide as the map, added to its input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=NORM_EPSILON)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (conv(h).flatten(2).transpose(1, 2).unsqueeze(1) for conv in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(h.squeeze(1).transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halve the resolution with a strided 3x3 convolution, padded with zeros at the bottom and right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        # The published weights expect this one-sided padding, which Conv2d cannot express; those with reflection
        # padding were trained with zeros here, too.
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest-2x upsampling and a 3x3 convolution, optionally to another width."""

    def __init__(self, channels: int, out_channels: int | None = None, padding: str = ZEROS) -> None:
        super().__init__()
        self.conv = conv3x3(channels, out_channels or channels, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def level_blocks(
    in_channels: int, out_channels: int, count: int, attention: bool, groups: int, padding: str = ZEROS
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The residual blocks of one resolution, and an attention layer for each (or none)."""
    widths = [in_channels] + [out_channels] * count
    blocks = nn.ModuleList(ResidualBlock(a, b, groups, padding) for a, b in pairwise(widths))
    attentions = nn.ModuleList(Attention(out_channels, groups) for _ in range(count if attention else 0))
    return blocks, attentions


def run_blocks(blocks: nn.ModuleList, attentions: nn.ModuleList, x: Tensor) -> Tensor:
    """Run each block, followed by its attention if there is one."""
    for block, attention in zip_longest(blocks, attentions):
        x = block(x)
        if attention is not None:
            x = attention(x)
    return x


class DownLevel(nn.Module):
    """A level of the encoder: blocks, then half the resolution (except in the last)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        count: int,
        attention: bool,
        groups: int,
        halve: bool,
        padding: str = ZEROS,
    ) -> None:
        super().__init__()
        self.block, self.attn = level_blocks(in_channels, out_channels, count, attention, groups, padding)
        self.downsample = Downsample(out_channels) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(run_blocks(self.block, self.attn, x))


class UpLevel(nn.Module):
    """A level of the decoder: blocks, then twice the resolution (except in the one at full resolution)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        count: int,
        attention: bool,
        groups: int,
        double: bool,
        padding: str = ZEROS,
    ) -> None:
        super().__init__()
        self.block, self.attn = level_blocks(in_channels, out_channels, count, attention, groups, padding)
        self.upsample = Upsample(out_channels, padding=padding) if double else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(run_blocks(self.block, self.attn, x))


class Middle(nn.Module):
    """Two residual blocks at the lowest resolution, with attention between them in most models."""

    def __init__(self, channels: int, attention: bool, groups: int, padding: str = ZEROS) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, groups, padding)
        self.attn_1 = Attention(channels, groups) if attention else nn.Identity()
        self.block_2 = ResidualBlock(channels, channels, groups, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Images (b, 3, h, w) -> moments (b, 2z, h/f, w/f): mean in the first z channels, log-variance in the last.

    Args:
        config: of the network.
        moments: output values per latent value: two for a Gaussian; with one, as for a vector quantizer, moments are
            (b, z, h/f, w/f).
    """

    def __init__(self, config: KLConfig, moments: int = 2) -> None:
        super().__init__()
        self.config = config
        widths, groups, padding = config.encoder_widths, config.norm_groups, config.padding
        hidden, latent = (moments * channels for channels in (config.hidden_channels, config.latent_channels))
        self.conv_in = conv3x3(config.image_channels, widths[0], padding)
        self.down = nn.ModuleList(
            DownLevel(
                widths[max(i - 1, 0)],
                width,
                config.encoder_blocks,
                attention=i in config.encoder_attention,
                groups=groups,
                halve=i < len(widths) - 1,
                padding=padding,
            )
            for i, width in enumerate(widths)
        )
        self.mid = Middle(widths[-1], config.mid_attention, groups, padding)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=NORM_EPSILON)
        self.conv_out = conv3x3(widths[-1], hidden, padding)
        self.quant_conv = nn.Conv2d(hidden, latent, 1) if config.quant_conv else nn.Identity()

    def forward(self, x: Images) -> Moments:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.conv_out(F.silu(self.norm_out(self.mid(h))))
        return self.quant_conv(h)


class Decoder(nn.Module):
    """Raw latents (b, z, i, j) -> images (b, 3, f*i, f*j). Levels are numbered by resolution: `up[0]` is the last
    to run, at full resolution, as in the LDM checkpoints.

    Args:
        config: of the network.
        outputs: output values per image value: with k of them, the output is (b, 3k, f*i, f*j).
    """

    def __init__(self, config: KLConfig, outputs: int = 1) -> None:
        super().__init__()
        self.config = config
        widths, groups, padding = config.decoder_widths, config.norm_groups, config.padding
        self.post_quant_conv = (
            nn.Conv2d(config.latent_channels, config.hidden_channels, 1) if config.post_quant_conv else nn.Identity()
        )
        self.conv_in = conv3x3(config.hidden_channels, widths[-1], padding)
        self.mid = Middle(widths[-1], config.mid_attention, groups, padding)
        self.up = nn.ModuleList(
            UpLevel(
                widths[min(i + 1, len(widths) - 1)],
                width,
                config.decoder_blocks,
                attention=i in config.decoder_attention,
                groups=groups,
                double=i > 0,
                padding=padding,
            )
            for i, width in enumerate(widths)
        )
        self.norm_out = nn.GroupNorm(groups, widths[0], eps=NORM_EPSILON)
        self.conv_out = conv3x3(widths[0], outputs * config.image_channels, padding)

    def forward(self, z: Latents) -> Images:
        h = self.mid(self.conv_in(self.post_quant_conv(z)))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def build(config: KLConfig, moments: int = 2, outputs: int = 1) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config, moments), Decoder(config, outputs)
