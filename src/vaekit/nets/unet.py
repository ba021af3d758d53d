"""A small UNet for latent maps (Ronneberger et al. 2015, arXiv 1505.04597, with the blocks of Ho et al. 2020, arXiv
2006.11239, and attention at the lowest level).

Convolutions suit few and small data sets, as they know of neighborhoods before they see any data; transformers of the
same cost overtake them with more.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.nets.denoising import MOST_BLOCKS, Condition, ContextAttention, TimeEmbedding, zeroed

GROUPS = 8


@dataclass(frozen=True)
class UNetConfig:
    """The architecture."""

    channels: int
    """Of latents."""
    size: tuple[int, ...]
    """(h, w) of latents. Odd sides are rounded up at lower levels."""
    widths: tuple[int, ...] = (64, 128, 128)
    """Channels of each level, multiples of 8; each level has half the resolution of the one before it."""
    blocks: int = 1
    """Residual blocks of each level, on the way down and on the way up."""
    heads: int = 4
    """Of the attention at the lowest level."""
    kind: str = field(default="unet", init=False)

    def __post_init__(self) -> None:
        if not self.widths or min(self.channels, self.blocks, self.heads, *self.size, *self.widths) < 1:
            raise ValueError("the sizes of a net must be at least 1")
        if self.blocks * len(self.widths) > MOST_BLOCKS:
            raise ValueError(f"there are {self.blocks * len(self.widths):,} blocks, and at most {MOST_BLOCKS:,}")
        if len(self.size) != 2:
            raise ValueError(
                f'latents of shape {list(self.shape)} are not maps, which a UNet takes; use net.kind="dit"'
            )
        wrong = [width for width in self.widths if width % GROUPS]
        if wrong or self.widths[-1] % self.heads:
            raise ValueError(
                f"widths are {list(self.widths)}, not multiples of {GROUPS}, the last one of {self.heads} heads"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of latents, (z, h, w)."""
        return (self.channels, *self.size)

    @property
    def embedding(self) -> int:
        """The width of conditions."""
        return 2 * self.widths[-1]

    def build(self, context: bool) -> "UNet":
        """The net."""
        return UNet(self, context)


class UNet(nn.Module):
    """Noisy latents (b, z, h, w), times (b,) in [0, 1], conditions -> velocities (b, z, h, w)."""

    def __init__(self, config: UNetConfig, context: bool) -> None:
        super().__init__()
        self.config = config
        widths, embedding = config.widths, config.embedding
        self.into = nn.Conv2d(config.channels, widths[0], 3, padding=1)
        self.time = TimeEmbedding(embedding)
        self.down, self.halving = nn.ModuleList(), nn.ModuleList()
        self.up, self.doubling = nn.ModuleList(), nn.ModuleList()
        for before, width in zip((widths[0], *widths), widths, strict=False):
            inputs = [before, *[width] * (config.blocks - 1)]
            self.down.append(nn.ModuleList(ResidualBlock(each, width, embedding) for each in inputs))
            self.up.insert(0, nn.ModuleList(ResidualBlock(2 * width, width, embedding) for _ in inputs))
        for before, width in pairwise(widths):
            self.halving.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
            self.doubling.insert(0, nn.Conv2d(width, before, 3, padding=1))
        self.middle1 = ResidualBlock(widths[-1], widths[-1], embedding)
        self.attention = MapAttention(widths[-1], embedding, config.heads, context)
        self.middle2 = ResidualBlock(widths[-1], widths[-1], embedding)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.out = zeroed(nn.Conv2d(widths[0], config.channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        h, embedded = self.into(x), self.time(t) + condition.pooled
        kept: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            h = self.halving[level - 1](h) if level else h
            for block in modules(blocks):
                h = block(h, embedded)
                kept.append(h)
        h = self.middle2(self.attention(self.middle1(h, embedded), condition), embedded)
        for level, blocks in enumerate(self.up):
            if level:
                h = self.doubling[level - 1](F.interpolate(h, kept[-1].shape[2:]))
            for block in modules(blocks):
                h = block(torch.cat([h, kept.pop()], dim=1), embedded)
        return self.out(F.silu(self.norm(h)))


def modules(level: nn.Module) -> list[nn.Module]:
    """The blocks of a level."""
    return list(level.children())


class ResidualBlock(nn.Module):
    """Two convolutions, between which the embedding scales and shifts, added to the input."""

    def __init__(self, before: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, before), nn.GroupNorm(GROUPS, width)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(embedding, 2 * width)))
        self.shortcut = nn.Identity() if before == width else nn.Conv2d(before, width, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, shift = self.modulation(embedded)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        return self.shortcut(x) + self.conv2(F.silu(h))


class MapAttention(nn.Module):
    """Attention between all positions of a map (b, c, h, w), and to a context."""

    def __init__(self, width: int, embedding: int, heads: int, context: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))
        self.context = ContextAttention(width, embedding, heads) if context else None

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        added = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        h = x.flatten(2).transpose(1, 2) + added
        if self.context is not None:
            h = self.context(h, condition)
        return h.transpose(1, 2).unflatten(2, x.shape[2:])
