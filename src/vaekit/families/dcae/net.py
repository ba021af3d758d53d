"""The deep compression autoencoder: DC-AE f32, f64 and f128, and the one of Sana (Chen et al. 2025, arXiv 2410.10733).

Few, deep stages with shortcuts that move pixels into channels and back. The first stages have plain residual blocks;
the last ones, where maps are small, have EfficientViT blocks: linear attention over all positions (Cai et al. 2023,
arXiv 2205.14756), then a gated convolution. There is no sampling: the encoder outputs the latent.

Indices in a stage are those of the published files: in the encoder the downsampling is last, in the decoder the
upsampling is first, and stages are numbered by resolution in both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

NORM_EPSILON = 1e-5
ATTENTION_EPSILON = 1e-15
"""Added to the sum of attention weights at a position, which may be zero."""
EXPANSION = 4
"""The width of the gated convolution relative to its stage."""
ACTIVATIONS = {"relu": F.relu, "silu": F.silu}


@dataclass(frozen=True)
class DCAEConfig:
    """The shape of a deep compression autoencoder. Stages are listed from full resolution downwards, in both halves."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Width of each stage; an empty first stage repeats the second's width."""
    decoder_widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    """Blocks of each stage. If the first stage has none, the first layer halves the resolution."""
    decoder_blocks: tuple[int, ...]
    encoder_attention: tuple[int, ...]
    """Stages with EfficientViT blocks; all others have residual blocks."""
    decoder_attention: tuple[int, ...]
    encoder_scales: tuple[tuple[int, ...], ...]
    """The kernel sizes of the additional attention scales of each stage."""
    decoder_scales: tuple[tuple[int, ...], ...]
    decoder_batch_norm: tuple[int, ...]
    """Stages with batch norm, with running statistics; all others have RMS norm."""
    downsample: str
    """"conv" (stride 2) or "pixel_unshuffle"."""
    upsample: str
    """"interpolate" or "pixel_shuffle"."""
    head_width: int
    """Channels of an attention head: 32 in all published models. Only weights of additional scales determine it."""
    decoder_relu: tuple[int, ...]
    """Stages of residual blocks with ReLU; all others have SiLU. Weights do not determine this and the following
    fields."""
    decoder_out_activation: str
    """"relu" or "silu", before the last convolution."""
    encoder_out_shortcut: bool
    """Whether averaged channels are added to the encoder's output."""
    decoder_in_shortcut: bool
    """Whether repeated channels of the latent are added to the output of the decoder's first convolution."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size; every stage except the last halves the resolution."""
        factor = 2 ** (len(self.encoder_widths) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Blocks of the larger half."""
        return max(sum(self.encoder_blocks), sum(self.decoder_blocks))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) over the channels (b, c, ...), with weight and bias; computed in fp32 at least."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        exact = at_least_single(x)
        normed = exact * torch.rsqrt(exact.square().mean(dim=1, keepdim=True) + NORM_EPSILON)
        return (normed * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)).to(x.dtype)


class ResidualBlock(nn.Module):
    """x + norm(conv(activation(conv(x))))."""

    def __init__(self, channels: int, batch_norm: bool, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = norm(channels, batch_norm)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv2(ACTIVATIONS[self.activation](self.conv1(x))))


class LinearAttention(nn.Module):
    """Multi-scale attention with a ReLU kernel, added to its input; its cost is linear in the number of positions
    (arXiv 2205.14756, section 3.1).

    The published weights split the concatenated channels of q, k and v into heads of three times the head width, so
    that the queries of a head are not channels of `q`: the names are only those of the thirds of one convolution.
    """

    def __init__(self, channels: int, head_width: int, scales: tuple[int, ...], batch_norm: bool) -> None:
        super().__init__()
        self.head_width = head_width
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(3))
        self.scales = nn.ModuleList(additional_scale(3 * channels, size, head_width) for size in scales)
        self.proj_out = nn.Conv2d(channels * (1 + len(scales)), channels, 1, bias=False)
        self.norm_out = norm(channels, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        qkv = torch.cat([self.q(x), self.k(x), self.v(x)], dim=1)
        heads = torch.cat([qkv, *(scale(qkv) for scale in self.scales)], dim=1)
        # Sums over thousands of positions overflow in half precision.
        q, k, v = at_least_single(heads).flatten(2).unflatten(1, (-1, 3, self.head_width)).unbind(2)
        attended = linear_attention(F.relu(q), F.relu(k), v)
        out = attended.flatten(1, 2).unflatten(2, x.shape[2:]).to(x.dtype)
        return x + self.norm_out(self.proj_out(out))


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(v k^T) q, each position divided by its sum of attention weights; all three are (b, heads, width, n)."""
    weights = k.sum(dim=3, keepdim=True).transpose(2, 3) @ q
    return (v @ k.transpose(2, 3)) @ q / (weights + ATTENTION_EPSILON)


def additional_scale(channels: int, size: int, group: int) -> nn.Sequential:
    """q, k and v aggregated over a window: a depthwise convolution, then a grouped 1x1 convolution."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, groups=channels // group, bias=False),
    )


class GatedConv(nn.Module):
    """x + norm(a * silu(gate)) with a, gate from an expanded depthwise convolution of x (GLUMBConv)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.inverted = nn.Conv2d(channels, 2 * wide, 1)
        self.depth = nn.Conv2d(2 * wide, 2 * wide, 3, padding=1, groups=2 * wide)
        self.point = nn.Conv2d(wide, channels, 1, bias=False)
        self.norm = RMSNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.depth(F.silu(self.inverted(x))).chunk(2, dim=1)
        return x + self.norm(self.point(h * F.silu(gate)))


class EfficientViTBlock(nn.Module):
    """Linear attention over all positions, then a gated convolution."""

    def __init__(self, channels: int, head_width: int, scales: tuple[int, ...], batch_norm: bool) -> None:
        super().__init__()
        self.attn = LinearAttention(channels, head_width, scales, batch_norm)
        self.glu = GatedConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.glu(self.attn(x))


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution, or by a convolution and pixel unshuffle."""

    def __init__(self, in_channels: int, out_channels: int, mode: str) -> None:
        super().__init__()
        self.unshuffle = mode == "pixel_unshuffle"
        width, stride = (out_channels // 4, 1) if self.unshuffle else (out_channels, 2)
        self.conv = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return F.pixel_unshuffle(h, 2) if self.unshuffle else h


class ResidualDownsample(Downsample):
    """Downsampling with a shortcut: pixel unshuffle and averaged channels."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + averaged(F.pixel_unshuffle(x, 2), h.shape[1])


class Upsample(nn.Module):
    """Double the resolution by nearest-2x upsampling and a convolution, or by a convolution and pixel shuffle."""

    def __init__(self, in_channels: int, out_channels: int, mode: str) -> None:
        super().__init__()
        self.shuffle = mode == "pixel_shuffle"
        self.conv = nn.Conv2d(in_channels, out_channels * 4 if self.shuffle else out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.shuffle:
            return F.pixel_shuffle(self.conv(x), 2)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualUpsample(Upsample):
    """Upsampling with a shortcut: repeated channels and pixel shuffle."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + F.pixel_shuffle(repeated(x, 4 * h.shape[1]), 2)


def averaged(x: Tensor, channels: int) -> Tensor:
    """Reduce to `channels` channels, each the mean of a group of adjacent ones."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def repeated(x: Tensor, channels: int) -> Tensor:
    """Expand to `channels` channels by repeating each."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


def norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON) if batch_norm else RMSNorm(channels)


def at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Encoder(nn.Module):
    """Images (b, 3, h, w) in [-1, 1] -> latents (b, z, h/f, w/f)."""

    def __init__(self, config: DCAEConfig) -> None:
        super().__init__()
        self.config = config
        widths, mode = config.encoder_widths, config.downsample
        self.conv_in = (
            nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
            if config.encoder_blocks[0]
            else Downsample(config.image_channels, widths[1], mode)
        )
        self.stages = nn.ModuleList(encoder_stage(config, i) for i in range(len(widths)))
        self.conv_out = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, x: Images) -> Latents:
        h = self.conv_in(x)
        for stage in self.stages:
            h = stage(h)
        z = self.conv_out(h)
        return z + averaged(h, z.shape[1]) if self.config.encoder_out_shortcut else z


def encoder_stage(config: DCAEConfig, i: int) -> nn.Sequential:
    """The blocks of one encoder stage, without batch norm or ReLU, then downsampling."""
    width, *deeper = config.encoder_widths[i : i + 2]
    blocks: list[nn.Module] = [
        EfficientViTBlock(width, config.head_width, config.encoder_scales[i], batch_norm=False)
        if i in config.encoder_attention
        else ResidualBlock(width, batch_norm=False, activation="silu")
        for _ in range(config.encoder_blocks[i])
    ]
    return nn.Sequential(*blocks, *(ResidualDownsample(width, below, config.downsample) for below in deeper if blocks))


class Decoder(nn.Module):
    """Latents (b, z, i, j) -> images (b, 3, f*i, f*j). Stages are numbered by resolution: `stages[0]` is the last to
    run."""

    def __init__(self, config: DCAEConfig) -> None:
        super().__init__()
        self.config = config
        widths, mode = config.decoder_widths, config.upsample
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.stages = nn.ModuleList(decoder_stage(config, i) for i in range(len(widths)))
        last = widths[0] if config.decoder_blocks[0] else widths[1]
        self.norm_out = RMSNorm(last)
        self.conv_out = (
            nn.Conv2d(last, config.image_channels, 3, padding=1)
            if config.decoder_blocks[0]
            else Upsample(last, config.image_channels, mode)
        )

    def forward(self, z: Latents) -> Images:
        h = self.conv_in(z)
        if self.config.decoder_in_shortcut:
            h = h + repeated(z, h.shape[1])
        for stage in reversed(self.stages):
            h = stage(h)
        return self.conv_out(ACTIVATIONS[self.config.decoder_out_activation](self.norm_out(h)))


def decoder_stage(config: DCAEConfig, i: int) -> nn.Sequential:
    """Upsampling, then the blocks of one decoder stage."""
    width, *deeper = config.decoder_widths[i : i + 2]
    batch_norm = i in config.decoder_batch_norm
    blocks: list[nn.Module] = [
        EfficientViTBlock(width, config.head_width, config.decoder_scales[i], batch_norm)
        if i in config.decoder_attention
        else ResidualBlock(width, batch_norm, "relu" if i in config.decoder_relu else "silu")
        for _ in range(config.decoder_blocks[i])
    ]
    return nn.Sequential(*(ResidualUpsample(below, width, config.upsample) for below in deeper if blocks), *blocks)


def build(config: DCAEConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
