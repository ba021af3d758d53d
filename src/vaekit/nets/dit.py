"""Diffusion transformers for latents of any shape (Peebles & Xie 2023, arXiv 2212.09748).

Latents are cut into patches, each of which is a token. Time and condition set scales, shifts and gates of every block
(adaLN-Zero, section 3.2); the words of a caption are also attended to.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit.nets.denoising import MOST_BLOCKS, Condition, ContextAttention, TimeEmbedding, waves, zeroed

MOST_TOKENS = 2**16
MOST_AXES = 3


@dataclass(frozen=True)
class DiTConfig:
    """The architecture."""

    channels: int
    """Of latents."""
    size: tuple[int, ...]
    """Positions of latents along each axis: (h, w) of a map, () of a vector, which is cut along its channels."""
    patch: int = 1
    """The side of a patch; the last patches are padded. Of a vector, its channels."""
    width: int = 192
    depth: int = 6
    """The number of blocks."""
    heads: int = 6
    kind: str = field(default="dit", init=False)

    def __post_init__(self) -> None:
        if min(self.channels, self.patch, self.width, self.depth, self.heads, *self.size) < 1:
            raise ValueError("the sizes of a net must be at least 1")
        if self.depth > MOST_BLOCKS:
            raise ValueError(f"depth is {self.depth:,}, and at most {MOST_BLOCKS:,}")
        if self.width % (2 * max(1, self.axes)) or self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, not a multiple of {2 * max(1, self.axes)} and of {self.heads} heads"
            )
        if self.axes > MOST_AXES or prod(self.grid) > MOST_TOKENS:
            raise ValueError(f"latents of shape {list(self.shape)} are {prod(self.grid):,} patches in {self.axes} axes")

    @property
    def axes(self) -> int:
        """Of latents."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of latents, (z, *positions)."""
        return (self.channels, *self.size)

    @property
    def grid(self) -> tuple[int, ...]:
        """Patches along each axis; of a vector, along its channels."""
        return tuple(-(-side // self.side) for side in self.size or (self.channels,))

    @property
    def side(self) -> int:
        """Of a patch; a vector may be one patch of all channels."""
        return self.patch if self.axes else min(self.patch, self.channels)

    @property
    def values(self) -> int:
        """Of one patch."""
        return self.channels * self.side**self.axes if self.axes else self.side

    @property
    def embedding(self) -> int:
        """The width of conditions."""
        return self.width

    def build(self, context: bool) -> "DiT":
        """The net."""
        return DiT(self, context)


class DiT(nn.Module):
    """Noisy latents (b, z, ...), times (b,) in [0, 1], conditions -> velocities (b, z, ...)."""

    def __init__(self, config: DiTConfig, context: bool) -> None:
        super().__init__()
        self.config = config
        self.into = nn.Linear(config.values, config.width)
        self.positions = nn.Parameter(grid_waves(config.grid, config.width))
        self.time = TimeEmbedding(config.width)
        self.blocks = nn.ModuleList(DiTBlock(config.width, config.heads, context) for _ in range(config.depth))
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(config.width, 2 * config.width)))
        self.norm = nn.LayerNorm(config.width, elementwise_affine=False)
        self.out = zeroed(nn.Linear(config.width, config.values))

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        h = self.into(patches(x, self.config)) + self.positions
        embedded = self.time(t) + condition.pooled
        for block in self.blocks:
            h = block(h, embedded, condition)
        shift, scale = self.modulation(embedded).unsqueeze(1).chunk(2, dim=2)
        return joined(self.out(self.norm(h) * (1 + scale) + shift), self.config)


class DiTBlock(nn.Module):
    """Attention between tokens (b, t, w), to a context, and two layers. It changes nothing before it is trained."""

    def __init__(self, width: int, heads: int, context: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.context = ContextAttention(width, width, heads) if context else None
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(width, 6 * width)))

    def forward(self, x: Tensor, embedded: Tensor, condition: Condition) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(embedded).unsqueeze(1).chunk(6, dim=2)
        x = x + gate1 * self.attended(self.norm1(x) * (1 + scale1) + shift1)
        if self.context is not None:
            x = self.context(x, condition)
        return x + gate2 * self.network(self.norm2(x) * (1 + scale2) + shift2)

    def attended(self, x: Tensor) -> Tensor:
        """Attention of all tokens to each other."""
        q, k, v = self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def patches(x: Tensor, config: DiTConfig) -> Tensor:
    """Latents (b, z, ...) -> patches (b, t, values), in row-major order; a vector is cut along its channels."""
    x = x if config.axes else x.unsqueeze(1)
    missing = [-side % config.side for side in x.shape[2:]]
    padding = [amount for each in reversed(missing) for amount in (0, each)]
    x = F.pad(x, padding) if any(missing) else x
    grid, axes = config.grid, len(config.grid)
    x = x.reshape(len(x), x.shape[1], *(each for side in grid for each in (side, config.side)))
    order = [0, *(2 + 2 * axis for axis in range(axes)), 1, *(3 + 2 * axis for axis in range(axes))]
    return x.permute(order).flatten(1 + axes).flatten(1, axes)


def joined(tokens: Tensor, config: DiTConfig) -> Tensor:
    """The inverse of `patches`."""
    grid, axes = config.grid, len(config.grid)
    channels = config.channels if config.axes else 1
    x = tokens.reshape(len(tokens), *grid, channels, *(config.side for _ in grid))
    order = [0, 1 + axes, *(each for axis in range(axes) for each in (1 + axis, 2 + axes + axis))]
    x = x.permute(order).reshape(len(tokens), channels, *(side * config.side for side in grid))
    for axis, side in enumerate(config.size or (config.channels,), start=2):
        x = x.narrow(axis, 0, side)
    return x if config.axes else x.squeeze(1)


def grid_waves(grid: tuple[int, ...], width: int) -> Tensor:
    """Sines and cosines of the positions of a grid, (tokens, width): an equal share of the width for each axis."""
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid)).reshape(-1, len(grid))
    share = width // (2 * len(grid))
    waved = torch.cat([waves(places[:, axis], share) for axis in range(len(grid))], dim=1)
    return F.pad(waved, (0, width - waved.shape[1]))
