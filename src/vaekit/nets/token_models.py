"""Models of the next token, given the context of a latent and the tokens before: recurrent nets and a transformer.

The context is part of the input at every position, so that it does not fade over long sequences, and it is added to
what the logits are computed from: such skip connections keep latents in use (Dieng et al. 2019, arXiv 1807.04863). See
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
    def embedding(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...


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
        self.layers, self.width = config.layers, config.width
        self.inputs = TokenInputs(config.vocabulary, config.embedding, word_dropout)
        self.initial = nn.Linear(config.embedding, self.states * config.layers * config.width)
        between = dropout if config.layers > 1 else 0.0
        self.recurrent = self.net(2 * config.embedding, config.width, config.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Linear(config.embedding, config.width, bias=False)
        self.out = nn.Linear(config.width, config.vocabulary)

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        embedded = self.dropout(self.inputs(previous))
        inputs = torch.cat([embedded, context.unsqueeze(1).expand(-1, embedded.shape[1], -1)], dim=2)
        states, _ = self.recurrent(inputs, self._packed(self._initial(context)))
        return self.dropout(states) + self.skip(context).unsqueeze(1)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.out(hidden)

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        return self._advance(self.inputs.first(len(context)), context, self._initial(context))

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        context, *states = state
        return self._advance(self.inputs.one(token), context, tuple(states))

    def _advance(self, embedded: Tensor, context: Tensor, states: State) -> tuple[Tensor, State]:
        inputs = torch.cat([embedded, context], dim=1).unsqueeze(1)
        hidden, after = self.recurrent(inputs, self._packed(states))
        parts = (after,) if isinstance(after, Tensor) else after
        return hidden.squeeze(1) + self.skip(context), (context, *(part.transpose(0, 1) for part in parts))

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
        self.inputs = TokenInputs(config.vocabulary, config.width, word_dropout)
        self.context = nn.Linear(config.embedding, config.width)
        self.blocks = Blocks(config.width, config.heads, config.layers, config.length, dropout)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Linear(config.embedding, config.width, bias=False)
        self.out = nn.Linear(config.width, config.vocabulary)

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        embedded = self.dropout(self.inputs(previous)) + self.context(context).unsqueeze(1)
        return self.dropout(self.blocks(embedded, causal=True)) + self.skip(context).unsqueeze(1)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.out(hidden)

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        added = self.context(context)
        return self._advance(
            self.inputs.first(len(context)), (added, self.skip(context)), self.blocks.empty_cache(added)
        )

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        *contexts, cache = state
        return self._advance(self.inputs.one(token), tuple(contexts), cache)

    def _advance(self, embedded: Tensor, contexts: State, cache: Tensor) -> tuple[Tensor, State]:
        at_input, at_output = contexts
        hidden, cache = self.blocks.step(embedded + at_input, cache)
        return hidden + at_output, (*contexts, cache)


TOKEN_MODELS: dict[str, type[Recurrent | Transformer]] = {
    "gru": Recurrent,
    "lstm": LongShortTerm,
    "transformer": Transformer,
}
