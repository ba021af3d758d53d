"""The sequence net of vaekit's first edition, for its files: recurrent, with sequences of a fixed length.

Padding is a token as any other, and the likelihood is that of all `length` tokens. New VAEs have the net in
`sequence.py`.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import Decoding, State
from vaekit.geometry import Geometry
from vaekit.shapes import Codes


@dataclass(frozen=True)
class FirstSequenceConfig:
    """The architecture of encoder and decoder."""

    vocabulary: int
    length: int
    """The number of tokens of every sequence."""
    latent_channels: int
    width: int = 128
    """The size of recurrent states."""
    embedding: int = 64
    """The size of token embeddings."""
    kind: str = field(default="sequence", init=False)
    data_shape: ClassVar[None] = None
    blocks: ClassVar[int] = 4
    """Embedding, two directions, output."""

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.length, self.latent_channels, self.width, self.embedding) < 1:
            raise ValueError("vocabulary, length, latent_channels, width and embedding must be at least 1")

    @property
    def geometry(self) -> Geometry:
        """Sequences with one channel per token and a global latent."""
        return Geometry(self.length, self.latent_channels)

    def build(self, moments: int, outputs: int) -> tuple["FirstEncoder", "FirstDecoder"]:
        """Encoder and decoder, with `moments` encoder outputs per latent value and `outputs` contexts."""
        return FirstEncoder(self, moments), FirstDecoder(self, outputs)

    def token_head(self, word_dropout: float, dropout: float, bag: bool) -> "FirstNextToken":
        """The likelihood head.

        Raises:
            ValueError: a setting is that of the newer net.
        """
        if dropout or bag:
            raise ValueError('the net "sequence" has no dropout and no bag; the net "tokens" has')
        return FirstNextToken(self, word_dropout)


class FirstEncoder(nn.Module):
    """Tokens (b, t) -> moments (b, m z), from the last states of a GRU in both directions."""

    def __init__(self, config: FirstSequenceConfig, moments: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.embedding)
        self.recurrent = nn.GRU(config.embedding, config.width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * config.width, moments * config.latent_channels)

    def forward(self, x: Codes) -> Tensor:
        _, last = self.recurrent(self.embedding(x))
        return self.out(last.transpose(0, 1).flatten(1))


class FirstDecoder(nn.Module):
    """Raw latents (b, z) -> contexts (b, k width)."""

    def __init__(self, config: FirstSequenceConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.out = nn.Linear(config.latent_channels, outputs * config.width)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.out(z))


class FirstNextToken(nn.Module):
    """Contexts (b, width) -> p(x|z), token by token: a GRU with the context as its initial state and part of every
    input. It is its own `TokenModel`."""

    def __init__(self, config: FirstSequenceConfig, word_dropout: float) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.length = config.length
        self.first, self.unknown = config.vocabulary, config.vocabulary + 1
        self.embedding = nn.Embedding(config.vocabulary + 2, config.embedding)
        self.recurrent = nn.GRU(config.embedding + config.width, config.width, batch_first=True)
        self.out = nn.Linear(config.width, config.vocabulary)
        self.decoding = Decoding()

    def forward(self, context: Tensor) -> AutoregressiveCategorical:
        return AutoregressiveCategorical(self, context, self.length, self.decoding, end=None)

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        if self.training and self.word_dropout:
            hidden = torch.rand(previous.shape, device=previous.device) < self.word_dropout
            previous = previous.masked_fill(hidden, self.unknown)
        tokens = self.embedding(nn.functional.pad(previous, (1, 0), value=self.first))
        inputs = torch.cat([tokens, context.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=2)
        states, _ = self.recurrent(inputs, context.unsqueeze(0).contiguous())
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        return self.out(hidden)

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        first = torch.full((len(context),), self.first, device=context.device)
        return self.step(first, (context, context))

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        context, before = state
        inputs = torch.cat([self.embedding(token), context], dim=1).unsqueeze(1)
        hidden, _ = self.recurrent(inputs, before.unsqueeze(0).contiguous())
        return hidden.squeeze(1), (context, hidden.squeeze(1))
