"""Models of the next token, given the context of a latent and the tokens before: recurrent nets and a transformer.

There is one context (b, c) for all positions of a sequence, or one for each of them (b, t, c). It is part of the input
at every position, so that it does not fade over long sequences, and it is added to what the logits are computed from:
such skip connections keep latents in use (Dieng et al. 2019, arXiv 1807.04863). See
`vaekit.distributions.sequences.TokenModel` for the methods.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vaekit.distributions.sequences import State
from vaekit.nets.attention import Blocks
from vaekit.shapes import Codes


@runtime_checkable
class TokenModelConfig(Protocol):
    """The sizes of a model of tokens; see `SequenceConfig`."""

    @property
    def vocabulary(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def decoder_width(self) -> int: ...
    @property
    def embedding(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...


def by_position(context: Tensor) -> Tensor:
    """Contexts (b, t, c) for each position; (b, 1, c) if there is one (b, c) for all of them."""
    return context.unsqueeze(1) if context.dim() == 2 else context


def first(contexts: Tensor) -> Tensor:
    """The first position of each sequence, (b,)."""
    return torch.zeros(len(contexts), dtype=torch.long, device=contexts.device)


def at_position(contexts: Tensor, position: Tensor) -> Tensor:
    """The contexts (b, c) of positions (b,); see `by_position`."""
    rows = torch.arange(len(contexts), device=contexts.device)
    return contexts[rows, position.clamp_max(contexts.shape[1] - 1)]


class TokenInputs(nn.Module):
    """Embeddings of previous tokens, with one for the start of a sequence and one for a hidden token.

    Args:
        vocabulary: the number of tokens.
        size: of an embedding.
        word_dropout: the probability of hiding a token in training.
    """

    def __init__(self, vocabulary: int, size: int, word_dropout: float) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.start, self.hidden = vocabulary, vocabulary + 1
        self.embedding = nn.Embedding(vocabulary + 2, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)

    def forward(self, previous: Codes) -> Tensor:
        """Previous tokens (b, t) -> embeddings (b, t + 1, size), the first for the start."""
        if self.training and self.word_dropout:
            hidden = torch.rand(previous.shape, device=previous.device) < self.word_dropout
            previous = previous.masked_fill(hidden, self.hidden)
        return self.embedding(nn.functional.pad(previous, (1, 0), value=self.start))

    def first(self, count: int) -> Tensor:
        """The embedding of the start, (count, size)."""
        return self.embedding.weight[self.start].expand(count, -1)

    def one(self, token: Codes) -> Tensor:
        """Tokens (b,) -> embeddings (b, size)."""
        return self.embedding(token)


class Recurrent(nn.Module):
    """A GRU with the context as its initial state and part of every input."""

    net: type[nn.GRU | nn.LSTM] = nn.GRU
    states = 1
    """Tensors of the state of a layer."""

    def __init__(self, config: TokenModelConfig, word_dropout: float, dropout: float) -> None:
        super().__init__()
        self.layers, self.width = config.layers, config.decoder_width or config.width
        self.inputs = TokenInputs(config.vocabulary, config.embedding, word_dropout)
        self.initial = nn.Linear(config.embedding, self.states * config.layers * self.width)
        between = dropout if config.layers > 1 else 0.0
        self.recurrent = self.net(2 * config.embedding, self.width, config.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Linear(config.embedding, self.width, bias=False)
        self.out = nn.Linear(self.width, config.vocabulary)

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        embedded = self.dropout(self.inputs(previous))
        contexts = by_position(context)
        inputs = torch.cat([embedded, contexts[:, : embedded.shape[1]].expand(-1, embedded.shape[1], -1)], dim=2)
        states, _ = self.recurrent(inputs, self._packed(self._initial(contexts[:, 0])))
        return self.dropout(states) + self.skip(contexts)[:, : embedded.shape[1]]

    def logits(self, hidden: Tensor) -> Tensor:
        return self.out(hidden)

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        contexts = by_position(context)
        return self._advance(self.inputs.first(len(context)), first(contexts), contexts, self._initial(contexts[:, 0]))

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        position, contexts, *states = state
        return self._advance(self.inputs.one(token), position + 1, contexts, tuple(states))

    def _advance(self, embedded: Tensor, position: Tensor, contexts: Tensor, states: State) -> tuple[Tensor, State]:
        context = at_position(contexts, position)
        inputs = torch.cat([embedded, context], dim=1).unsqueeze(1)
        hidden, after = self.recurrent(inputs, self._packed(states))
        parts = (after,) if isinstance(after, Tensor) else after
        return hidden.squeeze(1) + self.skip(context), (position, contexts, *(part.transpose(0, 1) for part in parts))

    def _initial(self, context: Tensor) -> State:
        """The initial state: tensors (b, layers, width)."""
        shape = (self.states, self.layers, self.width)
        return torch.tanh(self.initial(context)).unflatten(1, shape).unbind(dim=1)

    def _packed(self, states: State) -> Tensor | tuple[Tensor, Tensor]:
        """The state as torch's layers take it: one tensor (layers, b, width), or two."""
        parts = [state.transpose(0, 1).contiguous() for state in states]
        return parts[0] if self.states == 1 else (parts[0], parts[1])


class LongShortTerm(Recurrent):
    """An LSTM in place of the GRU."""

    net = nn.LSTM
    states = 2


class Transformer(nn.Module):
    """A transformer whose inputs are the sums of token embedding and context."""

    def __init__(self, config: TokenModelConfig, word_dropout: float, dropout: float) -> None:
        super().__init__()
        width = config.decoder_width or config.width
        self.inputs = TokenInputs(config.vocabulary, width, word_dropout)
        self.context = nn.Linear(config.embedding, width)
        self.blocks = Blocks(width, config.heads, config.layers, config.length, dropout)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Linear(config.embedding, width, bias=False)
        self.out = nn.Linear(width, config.vocabulary)

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        embedded = self.dropout(self.inputs(previous))
        contexts = by_position(context)[:, : embedded.shape[1]]
        return self.dropout(self.blocks(embedded + self.context(contexts), causal=True)) + self.skip(contexts)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.out(hidden)

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        contexts = by_position(context)
        added = self.context(contexts)
        cache = self.blocks.empty_cache(added[:, 0])
        return self._advance(self.inputs.first(len(added)), first(added), (added, self.skip(contexts)), cache)

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        position, *contexts, cache = state
        return self._advance(self.inputs.one(token), position + 1, tuple(contexts), cache)

    def _advance(self, embedded: Tensor, position: Tensor, contexts: State, cache: Tensor) -> tuple[Tensor, State]:
        at_input, at_output = (at_position(each, position) for each in contexts)
        hidden, cache = self.blocks.step(embedded + at_input, cache)
        return hidden + at_output, (position, *contexts, cache)


TOKEN_MODELS: dict[str, type[Recurrent | Transformer]] = {
    "gru": Recurrent,
    "lstm": LongShortTerm,
    "transformer": Transformer,
}
