"""Conditions of diffusion models: classes, captions, vectors of a text encoder, or none.

A condition of an item is a tensor: the number of a class, the tokens of a caption, or vectors. Each kind has a null
condition, with which a share of the items is trained, so that the model is one without condition, too (classifier-free
guidance, Ho & Salimans 2022, arXiv 2207.12598).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vaekit.distributions.sequences import before_padding
from vaekit.nets.attention import Blocks
from vaekit.nets.denoising import MOST_BLOCKS, Condition

NONE, CLASSES, CAPTIONS, VECTORS = "none", "classes", "captions", "vectors"
MOST_CLASSES = 2**14


@runtime_checkable
class ConditionConfig(Protocol):
    """A kind of conditions: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def kind(self) -> str:
        """Its name in files."""

    @property
    def has_context(self) -> bool:
        """Whether a net attends to conditions."""

    def null(self) -> Tensor | None:
        """The condition of an item that has none, (...); None if no item has one."""

    def build(self, width: int) -> nn.Module:
        """A module from conditions (b, ...) to `Condition`, of this width."""


@dataclass(frozen=True)
class NoCondition:
    """Items without conditions."""

    kind: str = field(default=NONE, init=False)
    has_context: ClassVar[bool] = False

    def null(self) -> None:
        """Nothing."""

    def build(self, width: int) -> "WithoutCondition":
        return WithoutCondition(width)


class WithoutCondition(nn.Module):
    """The same learned vector for all items."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooled = nn.Parameter(torch.zeros(1, width))

    def forward(self, _: None) -> Condition:
        return Condition(self.pooled)


@dataclass(frozen=True)
class Classes:
    """The class of an item."""

    names: tuple[str, ...]
    kind: str = field(default=CLASSES, init=False)
    has_context: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= len(set(self.names)) == len(self.names) <= MOST_CLASSES:
            raise ValueError(f"there are {len(self.names):,} classes, and at most {MOST_CLASSES:,} different ones")

    def null(self) -> Tensor:
        """The number after the last class."""
        return torch.tensor(len(self.names))

    def build(self, width: int) -> "ClassEmbedding":
        return ClassEmbedding(len(self.names), width)


class ClassEmbedding(nn.Module):
    """Numbers of classes (b,) -> one vector each."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes + 1, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, condition: Tensor) -> Condition:
        return Condition(self.table(condition))


@dataclass(frozen=True)
class Captions:
    """The tokens of a caption, with END and padding as in `distributions.sequences`; an empty caption is none. The
    encoder is trained with the net."""

    vocabulary: int
    """The number of tokens, with END."""
    length: int
    """The maximum number of tokens of a caption, with END."""
    width: int = 128
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    kind: str = field(default=CAPTIONS, init=False)
    has_context: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.length, self.width, self.layers, self.heads) < 1 or self.width % self.heads:
            raise ValueError("the sizes of a caption encoder must be at least 1, its width a multiple of its heads")
        if not 0 <= self.dropout < 1 or self.layers > MOST_BLOCKS:
            raise ValueError(f"dropout is a probability below 1, and there are at most {MOST_BLOCKS:,} layers")

    def null(self) -> Tensor:
        """No tokens."""
        return torch.zeros(self.length, dtype=torch.long)

    def build(self, width: int) -> "CaptionEncoder":
        return CaptionEncoder(self, width)


class CaptionEncoder(nn.Module):
    """Tokens (b, t) -> a vector, and one vector per token behind that of the whole caption: a transformer."""

    def __init__(self, config: Captions, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.whole = nn.Parameter(0.02 * torch.randn(config.width))
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = Blocks(config.width, config.heads, config.layers, config.length + 1, config.dropout)
        self.context, self.pooled = nn.Linear(config.width, width), nn.Linear(config.width, width)

    def forward(self, condition: Tensor) -> Condition:
        words = before_padding(condition)
        words = words & (condition != 0)
        longest = int(words.sum(dim=1).max()) if words.numel() else 0
        tokens, words = condition[:, :longest], words[:, :longest]
        whole = self.whole.expand(len(tokens), 1, -1)
        mask = torch.cat([words.new_ones(len(words), 1), words], dim=1)
        states = self.blocks(torch.cat([whole, self.embedding(tokens)], dim=1), mask[:, None, None, :])
        return Condition(self.pooled(states[:, 0]), self.context(states), mask)


@dataclass(frozen=True)
class Vectors:
    """Vectors of a text encoder that is not trained, such as CLIP's; zeros are padding."""

    length: int
    """Vectors of an item at most."""
    width: int
    """Of a vector."""
    kind: str = field(default=VECTORS, init=False)
    has_context: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.length, self.width) < 1:
            raise ValueError("there is at least one vector of at least one value")

    def null(self) -> Tensor:
        """Padding."""
        return torch.zeros(self.length, self.width)

    def build(self, width: int) -> "VectorProjection":
        return VectorProjection(self, width)


class VectorProjection(nn.Module):
    """Vectors (b, n, d) -> a vector, and one vector each behind a learned one."""

    def __init__(self, config: Vectors, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.whole = nn.Parameter(0.02 * torch.randn(width))
        self.context, self.pooled = nn.Linear(config.width, width), nn.Linear(config.width, width)

    def forward(self, condition: Tensor) -> Condition:
        there = condition.any(dim=2)
        normed = self.norm(condition.float()) * there.unsqueeze(2)
        pooled = normed.sum(dim=1) / there.sum(dim=1, keepdim=True).clamp(min=1)
        context = torch.cat([self.whole.expand(len(condition), 1, -1), self.context(normed)], dim=1)
        return Condition(self.pooled(pooled), context, torch.cat([there.new_ones(len(there), 1), there], dim=1))


CONDITIONS: Mapping[str, type[Any]] = {
    NONE: NoCondition,
    CLASSES: Classes,
    CAPTIONS: Captions,
    VECTORS: Vectors,
}
