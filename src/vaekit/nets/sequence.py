"""Recurrent encoders and decoders for sequences of tokens: a VAE of sentences (Bowman et al. 2016, arXiv 1511.06349).

Data are integers (b, t) below the size of the vocabulary; latents are vectors (b, z). The decoder outputs a context (b,
width), from which the likelihood head `NextToken` generates tokens.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaekit.distributions import AutoregressiveCategorical
from vaekit.geometry import Geometry
from vaekit.shapes import Codes

MAX_LENGTH = 2**14
"""Tokens of a sequence at most: they are decoded one after the other."""


@dataclass(frozen=True)
class SequenceConfig:
    """The architecture of encoder and decoder."""

    vocabulary: int
    """The number of tokens; one of them may mark the end and the padding."""
    length: int
    """The number of tokens of a sequence."""
    latent_channels: int
    width: int = 128
    """The size of recurrent states."""
    embedding: int = 64
    """The size of token embeddings."""
    kind: str = field(default="sequence", init=False)
    data_shape: ClassVar[None] = None
    """None: items are tokens."""
    blocks: ClassVar[int] = 4
    """Embedding, two directions, output."""

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.length, self.latent_channels, self.width, self.embedding) < 1:
            raise ValueError("vocabulary, length, latent_channels, width and embedding must be at least 1")
        if self.length > MAX_LENGTH:
            raise ValueError(f"length is {self.length}, and at most {MAX_LENGTH}")

    @property
    def geometry(self) -> Geometry:
        """Sequences with one channel per token and a global latent."""
        return Geometry(self.length, self.latent_channels)

    def build(self, moments: int, outputs: int) -> tuple["Encoder", "Decoder"]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` contexts."""
        return Encoder(self, moments), Decoder(self, outputs)


class Encoder(nn.Module):
    """Tokens (b, t) -> moments (b, m z), from the last states of a GRU in both directions."""

    def __init__(self, config: SequenceConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.recurrent = nn.GRU(config.embedding, config.width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * config.width, moments * config.latent_channels)

    def forward(self, x: Codes) -> Tensor:
        _, last = self.recurrent(self.embedding(x))
        return self.out(last.transpose(0, 1).flatten(1))


class Decoder(nn.Module):
    """Raw latents (b, z) -> contexts (b, k width)."""

    def __init__(self, config: SequenceConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.out = nn.Linear(config.latent_channels, outputs * config.width)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.out(z))


class NextToken(nn.Module):
    """Contexts (b, width) -> p(x|z), token by token: a GRU with the context as its initial state and part of every
    input.

    In training, previous tokens are replaced at random by an unknown token, so that the model depends on the context
    (word dropout: arXiv 1511.06349, section 3.1). Random numbers come from torch's global generator.
    """

    def __init__(self, config: SequenceConfig, word_dropout: float) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.length = config.length
        self.start, self.unknown = config.vocabulary, config.vocabulary + 1
        self.embedding = nn.Embedding(config.vocabulary + 2, config.embedding)
        self.recurrent = nn.GRU(config.embedding + config.width, config.width, batch_first=True)
        self.out = nn.Linear(config.width, config.vocabulary)

    def forward(self, context: Tensor) -> AutoregressiveCategorical:
        return AutoregressiveCategorical(self.next_logits, context, self.length)

    def next_logits(self, context: Tensor, previous: Codes) -> Tensor:
        """Logits (b, t + 1, vocabulary) of the first token, and of the token after each previous one (b, t)."""
        if self.training and self.word_dropout:
            hidden = torch.rand(previous.shape, device=previous.device) < self.word_dropout
            previous = previous.masked_fill(hidden, self.unknown)
        tokens = self.embedding(nn.functional.pad(previous, (1, 0), value=self.start))
        inputs = torch.cat([tokens, context.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=2)
        states, _ = self.recurrent(inputs, context.unsqueeze(0).contiguous())
        return self.out(states)
