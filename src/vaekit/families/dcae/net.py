"""The deep compression autoencoder: DC-AE f32, f64 and f128, and the one of Sana (Chen et al. 2025, arXiv 2410.10733).

Few, deep stages with shortcuts that move pixels into channels and back. The first stages are plain residual blocks; the
last ones, where maps are small, are EfficientViT blocks: linear attention over all positions (Cai et al. 2023, arXiv
2205.14756), then a gated convolution. There is no sampling: the encoder says the latent itself.

Positions in a stage count as they do in the published files: in the encoder the downsampling stands last, in the
decoder the upsampling stands first, and stages are numbered by resolution in both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.geometry import Geometry
from vaekit.shapes import Images, Latents

NORM_EPSILON = 1e-5
ATTENTION_EPSILON = 1e-15
"""Added to the sum of attention at a position, which is zero where no query meets a key."""
EXPANSION = 4
"""Width of the gated convolution, in widths of its stage."""
ACTIVATIONS = {"relu": F.relu, "silu": F.silu}


@dataclass(frozen=True)
class DCAEConfig:
    """The shape of a deep compression autoencoder. Stages are listed from full resolution downwards, in both halves."""

    image_channels: int
    latent_channels: int
    encoder_widths: tuple[int, ...]
    """Width of each stage; an empty first stage has no width of its own and repeats the second's."""
    decoder_widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    """Blocks of each stage. With none in the first stage, the way in halves the resolution at once."""
    decoder_blocks: tuple[int, ...]
    encoder_attention: tuple[int, ...]
    """Stages of EfficientViT blocks; all others have residual blocks."""
    decoder_attention: tuple[int, ...]
    encoder_scales: tuple[tuple[int, ...], ...]
    """For each stage the kernel sizes of the further scales that its attention looks at."""
    decoder_scales: tuple[tuple[int, ...], ...]
    decoder_batch_norm: tuple[int, ...]
    """Stages normalized by batch norm, with running statistics; all others by their root mean square."""
    downsample: str
    """"conv" (stride 2) or "pixel_unshuffle"."""
    upsample: str
    """"interpolate" or "pixel_shuffle"."""
    head_width: int
    """Channels of a head of attention: 32 in all published models. Only weights of further scales tell it."""
    decoder_relu: tuple[int, ...]
    """Stages of residual blocks with ReLU; all others have SiLU. Weights cannot tell, here and below."""
    decoder_out_activation: str
    """"relu" or "silu", before the last convolution."""
    encoder_out_shortcut: bool
    """Whether averaged channels are added to what the encoder says."""
    decoder_in_shortcut: bool
    """Whether repeated channels of the latent are added to the decoder's first convolution."""

    @property
    def geometry(self) -> Geometry:
        """Images of any size; every stage but the last halves them."""
        factor = 2 ** (len(self.encoder_widths) - 1)
        return Geometry(self.image_channels, self.latent_channels, (factor, factor))

    @property
    def blocks(self) -> int:
        """Blocks of the larger half."""
        return max(sum(self.encoder_blocks), sum(self.decoder_blocks))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) over the channels (b, c, ...), with weight and bias; in single precision at least."""

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
    """Multi-scale attention with ReLU for a kernel, added to its input: its cost grows with the number of positions,
    not with its square (arXiv 2205.14756, section 3.1).

    The published weights cut the channels of q, k and v, laid end to end, into heads of three times the head's width,
    so that a head's queries are not channels of `q`. The three names are those of the thirds of one convolution.
    """

    def __init__(self, channels: int, head_width: int, scales: tuple[int, ...], batch_norm: bool) -> None:
        super().__init__()
        self.head_width = head_width
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(3))
        self.scales = nn.ModuleList(further_scale(3 * channels, size, head_width) for size in scales)
        self.proj_out = nn.Conv2d(channels * (1 + len(scales)), channels, 1, bias=False)
        self.norm_out = norm(channels, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        qkv = torch.cat([self.q(x), self.k(x), self.v(x)], dim=1)
        heads = torch.cat([qkv, *(scale(qkv) for scale in self.scales)], dim=1)
        # Sums over thousands of positions leave the range of half precision.
        q, k, v = at_least_single(heads).flatten(2).unflatten(1, (-1, 3, self.head_width)).unbind(2)
        attended = linear_attention(F.relu(q), F.relu(k), v)
        out = attended.flatten(1, 2).unflatten(2, x.shape[2:]).to(x.dtype)
        return x + self.norm_out(self.proj_out(out))


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(v k^T) q, each position divided by what its query meets in all keys: (b, heads, width, n) for all three."""
    weights = k.sum(dim=3, keepdim=True).transpose(2, 3) @ q
    return (v @ k.transpose(2, 3)) @ q / (weights + ATTENTION_EPSILON)


def further_scale(channels: int, size: int, group: int) -> nn.Sequential:
    """q, k and v as seen through a window: a convolution of each channel, then one inside each group of channels."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, groups=channels // group, bias=False),
    )


class GatedConv(nn.Module):
    """x + norm(a * silu(gate)), both halves of one widened, depthwise convolved x (GLUMBConv)."""

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
    """Halve the resolution: by a strided convolution, or by one that is followed by pixels becoming channels."""

    def __init__(self, in_channels: int, out_channels: int, kind: str) -> None:
        super().__init__()
        self.unshuffle = kind == "pixel_unshuffle"
        width, stride = (out_channels // 4, 1) if self.unshuffle else (out_channels, 2)
        self.conv = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        return F.pixel_unshuffle(h, 2) if self.unshuffle else h


class ResidualDownsample(Downsample):
    """Downsampling, added to the pixels themselves as channels, averaged to as many."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + averaged(F.pixel_unshuffle(x, 2), h.shape[1])


class Upsample(nn.Module):
    """Double the resolution: by repetition and a convolution, or by one whose channels become pixels."""

    def __init__(self, in_channels: int, out_channels: int, kind: str) -> None:
        super().__init__()
        self.shuffle = kind == "pixel_shuffle"
        self.conv = nn.Conv2d(in_channels, out_channels * 4 if self.shuffle else out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.shuffle:
            return F.pixel_shuffle(self.conv(x), 2)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualUpsample(Upsample):
    """Upsampling, added to repeated channels as pixels."""

    def forward(self, x: Tensor) -> Tensor:
        h = super().forward(x)
        return h + F.pixel_shuffle(repeated(x, 4 * h.shape[1]), 2)


def averaged(x: Tensor, channels: int) -> Tensor:
    """Fewer channels: the mean of each run of neighbors."""
    return x.unflatten(1, (channels, -1)).mean(dim=2)


def repeated(x: Tensor, channels: int) -> Tensor:
    """More channels: each one several times in a row."""
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
        widths, kind = config.encoder_widths, config.downsample
        self.conv_in = (
            nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
            if config.encoder_blocks[0]
            else Downsample(config.image_channels, widths[1], kind)
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
    """The blocks of one stage of the encoder, which knows neither batch norm nor ReLU; then half the resolution."""
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
        widths, kind = config.decoder_widths, config.upsample
        self.conv_in = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.stages = nn.ModuleList(decoder_stage(config, i) for i in range(len(widths)))
        last = widths[0] if config.decoder_blocks[0] else widths[1]
        self.norm_out = RMSNorm(last)
        self.conv_out = (
            nn.Conv2d(last, config.image_channels, 3, padding=1)
            if config.decoder_blocks[0]
            else Upsample(last, config.image_channels, kind)
        )

    def forward(self, z: Latents) -> Images:
        h = self.conv_in(z)
        if self.config.decoder_in_shortcut:
            h = h + repeated(z, h.shape[1])
        for stage in reversed(self.stages):
            h = stage(h)
        return self.conv_out(ACTIVATIONS[self.config.decoder_out_activation](self.norm_out(h)))


def decoder_stage(config: DCAEConfig, i: int) -> nn.Sequential:
    """Twice the resolution, then the blocks of one stage of the decoder."""
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
