"""SAME, the autoencoder of Stable Audio 3 (Evans et al. 2026, arXiv 2605.17991; diffusers' AutoencoderSAME).

Patches of samples become channels, and transformers resample in time: segments of 16 positions get one token more,
whose result is the position of the next level. Each token attends to those at most as many segments away as the window,
so a segment depends on few others, and the network runs segment by segment: attention takes the keys of the segments
around one. Angles of rotary embeddings are relative to the segment, since only their differences matter.

Attention is the difference of two. Norms are tanh(alpha x) with a scale and a shift. The bottleneck's scale and shift
are the last layer of the encoder; its running standard deviation is the normalization of the latents.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.families.waveform import NormedConv1d
from vaekit.geometry import Geometry

ROTARY_BASE = 10000.0
FAR = -1e4
"""Added to the products with keys beyond the window, or beyond the ends of the sequence: exp() of it is zero."""


@dataclass(frozen=True)
class SAMEConfig:
    """The shape of such an autoencoder. Levels are listed from full resolution downwards, in both halves."""

    audio_channels: int
    latent_channels: int
    patch: int
    """Samples that become channels of one position."""
    widths: tuple[int, ...]
    """Channels of each level."""
    strides: tuple[int, ...]
    """Positions per position of the next level. Weights do not determine them."""
    depths: tuple[int, ...]
    """Transformer blocks of each level."""
    expansion: int
    """The factor of the hidden layers of the transformers' networks."""
    head_width: int
    differential: bool
    """Whether attention is the difference of two."""
    window: int = 1
    """Segments to each side that a token attends to. Weights do not determine this and the following fields."""
    encoder_sines: tuple[int, ...] = ()
    """For each level, one more than the number of its last blocks with sines in place of SiLU; empty for none."""
    decoder_sines: tuple[int, ...] = ()
    sample_rate: int = 44100
    """In Hz."""

    @property
    def geometry(self) -> Geometry:
        """Waveforms of any length."""
        return Geometry(self.audio_channels, self.latent_channels, (self.patch * math.prod(self.strides),))

    @property
    def blocks(self) -> int:
        """Transformer blocks of a half."""
        return sum(self.depths)


class DynamicTanh(nn.Module):
    """gamma tanh(alpha x) + beta over the last axis, in place of a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), 4.0))
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.alpha * x) * self.gamma + self.beta


@lru_cache(maxsize=32)
def rotation(tokens: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines (tokens, width) of rotary embeddings."""
    frequencies = ROTARY_BASE ** (-np.arange(0, width, 2) / width)
    angles = np.tile(np.outer(np.arange(tokens), frequencies), 2)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def constant(values: NDArray[np.float32], like: Tensor) -> Tensor:
    """Values as a tensor with the dtype and on the device of another one."""
    return torch.from_numpy(values).to(like.device, like.dtype)


def rotated(x: Tensor, first: int, count: int) -> Tensor:
    """The first half of each vector (..., tokens, d) rotated by its position; tokens are those from `first` on, of
    `count`."""
    turned, rest = x.chunk(2, dim=-1)
    cos, sin = (constant(each[first : first + x.shape[-2]], x) for each in rotation(count, turned.shape[-1]))
    one, other = turned.chunk(2, dim=-1)
    return torch.cat((turned * cos + torch.cat((-other, one), dim=-1) * sin, rest), dim=-1)


@lru_cache(maxsize=32)
def band(tokens: int, window: int) -> NDArray[np.float32]:
    """What is added to products (tokens, (2 window + 1) tokens) of a segment's queries with the keys around it."""
    distance = np.arange((2 * window + 1) * tokens) - window * tokens - np.arange(tokens)[:, None]
    return np.where(np.abs(distance) <= window * tokens, 0, FAR).astype(np.float32)


def around(x: Tensor, window: int, fill: float = 0.0) -> Tensor:
    """Segments (b, n, tokens, d) -> (b, n, (2 window + 1) tokens, d), each between its neighbors; `fill` beyond the
    ends."""
    maps = x.flatten(2).transpose(1, 2)
    framed = F.pad(maps, (window, window), value=fill).unfold(2, 2 * window + 1, 1)
    return framed.permute(0, 2, 3, 1).unflatten(3, x.shape[2:]).flatten(2, 3)


class Attention(nn.Module):
    """Attention of segments (b, n, tokens, c) to themselves and their neighbors."""

    def __init__(self, width: int, config: SAMEConfig) -> None:
        super().__init__()
        self.head, self.window = min(config.head_width, width), config.window
        self.parts = 5 if config.differential else 3
        self.to_qkv = nn.Linear(width, self.parts * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        self.q_norm, self.k_norm = DynamicTanh(self.head), DynamicTanh(self.head)

    def forward(self, x: Tensor) -> Tensor:
        *maps, values = self.to_qkv(x).chunk(self.parts, dim=-1)
        count = len(maps) // 2
        value = self.heads(around(values, self.window))
        # The axes of segments and heads are those of a batch.
        bias = self.bias(x)
        results = [self.attend(q, k, value, bias) for q, k in zip(maps[:count], maps[count:], strict=True)]
        result = results[0] if count == 1 else results[0] - results[1]
        return self.to_out(result.transpose(2, 3).flatten(3))

    def heads(self, x: Tensor) -> Tensor:
        """(b, n, tokens, c) -> (b, n, heads, tokens, d)."""
        return x.unflatten(3, (-1, self.head)).transpose(2, 3)

    def bias(self, x: Tensor) -> Tensor:
        """What is added to products of queries and keys: (b, n, 1, tokens, (2 window + 1) tokens)."""
        tokens = x.shape[2]
        outside = around(x[..., :1] * 0, self.window, fill=FAR)
        return outside.transpose(2, 3).unsqueeze(2) + constant(band(tokens, self.window), x)

    def attend(self, queries: Tensor, keys: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """One of the attentions: (b, n, heads, tokens, d)."""
        tokens, count = queries.shape[2], (2 * self.window + 1) * queries.shape[2]
        q = rotated(self.q_norm(self.heads(queries)), self.window * tokens, count)
        k = rotated(self.k_norm(self.heads(around(keys, self.window))), 0, count)
        products = q @ k.transpose(3, 4) * self.head**-0.5 + bias
        return products.softmax(dim=-1) @ value


class FeedForward(nn.Module):
    """A gated network of one hidden layer."""

    def __init__(self, width: int, expansion: int, sines: bool) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, 2 * expansion * width)
        self.proj_out = nn.Linear(expansion * width, width)
        self.sines = sines

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.proj_in(x).chunk(2, dim=-1)
        return self.proj_out(h * (torch.sin(math.pi * gate) if self.sines else F.silu(gate)))


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then the same with a network."""

    def __init__(self, width: int, config: SAMEConfig, sines: bool) -> None:
        super().__init__()
        self.norm_attn, self.attn = DynamicTanh(width), Attention(width, config)
        self.norm_ff, self.ff = DynamicTanh(width), FeedForward(width, config.expansion, sines)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm_attn(x))
        return x + self.ff(self.norm_ff(x))


class Level(nn.Module):
    """The layers of a level: a convolution that changes the number of channels, tokens, and transformer blocks."""

    def __init__(self, channels: tuple[int, int], width: int, level: int, sines: int, config: SAMEConfig) -> None:
        super().__init__()
        self.mapping = NormedConv1d(*channels, 1) if channels[0] != channels[1] else nn.Identity()
        depth = config.depths[level]
        self.transformers = nn.ModuleList(TransformerBlock(width, config, depth - i < sines) for i in range(depth))
        self.new_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.stride = config.strides[level]

    def run(self, segments: Tensor) -> Tensor:
        """The transformer blocks on segments (b, n, tokens, c)."""
        for block in self.transformers:
            segments = block(segments)
        return segments


class DownLevel(Level):
    """(b, c, stride n) -> (b, c', n): the result is that of a token after each segment."""

    def forward(self, x: Tensor) -> Tensor:
        segments = self.mapping(x).unflatten(2, (-1, self.stride)).permute(0, 2, 3, 1)
        tokens = F.pad(self.new_tokens, (0, 0, self.stride, 0))
        return self.run(F.pad(segments, (0, 0, 0, 1)) + tokens)[:, :, -1].transpose(1, 2)


class UpLevel(Level):
    """(b, c, n) -> (b, c', stride n): the result is that of tokens after each position."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = F.pad(self.new_tokens.expand(1, self.stride, -1), (0, 0, 1, 0))
        segments = F.pad(x.transpose(1, 2).unsqueeze(2), (0, 0, 0, self.stride)) + tokens
        return self.mapping(self.run(segments)[:, :, 1:].permute(0, 3, 1, 2).flatten(2))


class Bottleneck(nn.Module):
    """The scale and the shift of the latents."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.bias


def last_sines(stated: tuple[int, ...], level: int) -> int:
    return stated[level] if stated else 0


class Encoder(nn.Module):
    """Waveforms (b, c, factor n) -> raw latents (b, z, n)."""

    def __init__(self, config: SAMEConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.audio_channels * config.patch, *config.widths)
        self.blocks = nn.ModuleList(
            DownLevel(pair, pair[1], i, last_sines(config.encoder_sines, i), config)
            for i, pair in enumerate(pairwise(channels))
        )
        self.proj = nn.Linear(channels[-1], config.latent_channels)
        self.bottleneck = Bottleneck(config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        h = x.unflatten(2, (-1, self.config.patch)).permute(0, 1, 3, 2).flatten(1, 2)
        for level in self.blocks:
            h = level(h)
        return self.bottleneck(self.proj(h.transpose(1, 2)).transpose(1, 2))


class Decoder(nn.Module):
    """Raw latents (b, z, n) -> waveforms (b, c, factor n). Levels are numbered in the order in which they run."""

    def __init__(self, config: SAMEConfig) -> None:
        super().__init__()
        self.config = config
        channels = (config.audio_channels * config.patch, *config.widths)
        self.proj = nn.Linear(config.latent_channels, channels[-1])
        self.blocks = nn.ModuleList(
            UpLevel((channels[i + 1], channels[i]), channels[i + 1], i, last_sines(config.decoder_sines, i), config)
            for i in reversed(range(len(config.widths)))
        )

    def forward(self, z: Tensor) -> Tensor:
        h = self.proj(z.transpose(1, 2)).transpose(1, 2)
        for level in self.blocks:
            h = level(h)
        return h.unflatten(1, (self.config.audio_channels, -1)).permute(0, 1, 3, 2).flatten(2)


def build(config: SAMEConfig) -> tuple[Encoder, Decoder]:
    """Both halves, with torch's initial weights (or none, under `torch.device("meta")`)."""
    return Encoder(config), Decoder(config)
