"""Parts of the nets of diffusion models: the embedding of time, conditions, and attention to a condition.

A net maps noisy latents, a time in [0, 1] and a condition to velocities of the same shape as the latents.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TIME_SCALE = 1000.0
"""Times in [0, 1] are embedded like the 1000 steps of Ho et al. 2020 (arXiv 2006.11239)."""
LONGEST_PERIOD = 10_000.0
"""The longest period of the sines and cosines (Vaswani et al. 2017, arXiv 1706.03762, section 3.5)."""
MOST_BLOCKS = 1000
"""Of a net; the largest published ones have some dozens."""
FREQUENCIES = 64
"""Sines of a time, and as many cosines."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What a net is conditioned on, embedded."""

    pooled: Tensor
    """One vector per item, (b, w)."""
    context: Tensor | None = None
    """A sequence of vectors per item, such as the words of a caption, (b, n, w)."""
    mask: Tensor | None = None
    """Which of them count, (b, n), True for those that do; None for all."""


@runtime_checkable
class NetConfig(Protocol):
    """The config of a net: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """Its name in recipes and files."""

    @property
    def embedding(self) -> int:
        """The width w of the condition."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of latents, (z, *positions)."""

    def build(self, context: bool) -> nn.Module:
        """A net (x, t, Condition) -> velocities, whose output is 0 before it is trained.

        Args:
            context: whether conditions have a context.
        """


class TimeEmbedding(nn.Module):
    """Times (b,) in [0, 1] -> (b, w): sines and cosines, and two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.layers(waves(TIME_SCALE * t, FREQUENCIES))


def waves(positions: Tensor, frequencies: int) -> Tensor:
    """Sines and cosines of positions (n,) with periods in a geometric sequence, (n, 2 * frequencies)."""
    exponents = torch.arange(frequencies, device=positions.device, dtype=torch.float32) / frequencies
    angles = positions.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ContextAttention(nn.Module):
    """x + attention of x (b, t, w) to a context (b, n, c). It adds nothing before it is trained."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context, 2 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        if condition.context is None:
            return x
        q = self.query(self.norm(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(condition.context).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if condition.mask is None else condition.mask[:, None, None, :]
        return x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


Layer = nn.Linear | nn.Conv2d


def zeroed(layer: Layer) -> Any:
    """A layer whose weights and biases are 0."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
