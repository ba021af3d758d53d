"""Autoregressive likelihoods of token sequences: p(x|z) = prod_t p(x_t | x_<t, z).

Sequences end with the token `END`. What follows it is padding, which has no probability and no influence: a batch
(b, t) may be padded to any length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaekit.distributions.base import sum_items
from vaekit.errors import BadItem
from vaekit.shapes import Codes, PerItem

END = 0
"""The token behind the last one of a sequence, and in all places after it."""
AT_ONCE = 512
"""Tokens whose logits are computed together without gradients: those of a large vocabulary would fill the memory."""
State = tuple[Tensor, ...]
"""What a model of tokens keeps between two tokens. The first axis of each tensor is the batch."""


@runtime_checkable
class TokenModel(Protocol):
    """A network that predicts the next token from the context z and the tokens before it."""

    def hidden(self, context: Tensor, previous: Codes) -> Tensor:
        """States (b, t + 1, h) that predict the first token and the token after each previous one (b, t). A state
        depends on the tokens before it only."""

    def logits(self, hidden: Tensor) -> Tensor:
        """States (..., h) -> logits (..., vocabulary)."""

    def start(self, context: Tensor) -> tuple[Tensor, State]:
        """The state (b, h) that predicts the first token, and what `step` needs."""

    def step(self, token: Codes, state: State) -> tuple[Tensor, State]:
        """The same after one more token (b,): equal to `hidden`, without computing earlier states again."""


@dataclass(frozen=True)
class Decoding:
    """How the most probable sequence is searched, and how sequences are sampled."""

    beam: int = 1
    """The number of sequences that are kept at each step; 1 is greedy search."""
    temperature: float = 1.0
    """Of samples: logits are divided by it."""

    def __post_init__(self) -> None:
        if self.beam < 1 or not 0 < self.temperature < math.inf:
            raise ValueError("beam must be at least 1, and temperature positive")


@runtime_checkable
class Generates(Protocol):
    """A likelihood head whose results are generated token by token."""

    decoding: Decoding
    """How; it may be changed."""


@dataclass(frozen=True)
class AutoregressiveCategorical:
    """p(x|z) of token sequences of at most `length` tokens, with their end."""

    model: TokenModel
    context: Tensor
    """The output of the decoder, (b, ...)."""
    length: int
    decoding: Decoding = Decoding()
    end: int | None = END
    """The token that ends a sequence; None if all have `length` tokens."""

    @property
    def mode(self) -> Codes:
        """The most probable sequences, (b, length), approximately: by greedy search or by beam search.

        Raises:
            BadItem: logits are not finite.
        """
        if self.decoding.beam > 1:
            return self._search(self.decoding.beam)
        return self._unroll(lambda logits: logits.argmax(dim=-1))

    def sample(self, generator: Generator | None = None) -> Codes:
        """Sequences (b, length), each token drawn from its probabilities.

        Raises:
            BadItem: logits are not finite.
        """

        temperature = max(self.decoding.temperature, torch.finfo(torch.float32).tiny)

        def choose(logits: Tensor) -> Codes:
            logits = logits.float()
            below = logits - logits.amax(dim=-1, keepdim=True)  # divided by little, the largest one stays finite
            probabilities = (below / temperature).softmax(dim=-1)
            return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

        return self._unroll(choose)

    def log_prob(self, x: Codes) -> PerItem:
        """Teacher forcing: one pass over the true tokens (b, t)."""
        return sum_items(self.log_factors(x))

    def log_factors(self, x: Codes) -> Tensor:
        """log p(x_t | x_<t, z) of each token, (b, t); 0 after the end. Conditional probabilities, unlike those of a
        `Factorized` likelihood, but they add up to `log_prob` in the same way."""
        counted = torch.ones_like(x, dtype=torch.bool) if self.end is None else before_padding(x)
        longest = max(1, int(counted.sum(dim=1).max()))
        true, mask = x[:, :longest], counted[:, :longest]
        # Only for tokens that count: the output layer takes most of the time of a large vocabulary.
        hidden, true = self.model.hidden(self.context, true[:, :-1])[mask], true[mask]
        at_once = len(hidden) if torch.is_grad_enabled() else AT_ONCE
        parts = zip(hidden.split(at_once), true.split(at_once), strict=True)
        each = torch.cat([log_probabilities(self.model.logits(states), tokens) for states, tokens in parts])
        factors = each.new_zeros(x.shape)
        return factors.masked_scatter(counted, each)

    def _still(self, running: Tensor, chosen: Codes) -> Tensor:
        """Which of the running sequences go on after a token."""
        return running if self.end is None else running & (chosen != self.end)

    @torch.no_grad()
    def _unroll(self, choose: Callable[[Tensor], Codes]) -> Codes:
        """Generate tokens (b, length), each chosen from the logits (b, vocabulary) given those before."""
        batch, device = self.context.shape[0], self.context.device
        tokens = torch.full((batch, self.length), END, dtype=torch.long, device=device)
        running = torch.ones(batch, dtype=torch.bool, device=device)
        hidden, state = self.model.start(self.context)
        for position in range(self.length):
            chosen = choose(finite(self.model.logits(hidden)))
            tokens[:, position] = torch.where(running, chosen, END)
            running = self._still(running, chosen)
            if position == self.length - 1 or not running.any():
                break
            hidden, state = self.model.step(chosen, state)
        return tokens

    @torch.no_grad()
    def _search(self, width: int) -> Codes:
        """Beam search for (b, length): keep the `width` most probable beginnings at each step."""
        batch, device = self.context.shape[0], self.context.device
        hidden, state = self.model.start(self.context.repeat_interleave(width, dim=0))
        tokens = torch.full((batch, width, self.length), END, dtype=torch.long, device=device)
        scores = torch.full((batch, width), -math.inf, device=device)
        scores[:, 0] = 0  # all beams are equal at the start
        running = torch.ones(batch, width, dtype=torch.bool, device=device)
        for position in range(self.length):
            log_p = finite(self.model.logits(hidden)).float().log_softmax(dim=-1).view(batch, width, -1)
            vocabulary = log_p.shape[2]
            ended = torch.full_like(log_p, -math.inf)
            ended[:, :, END] = 0  # a sequence that ended stays as it is
            totals = scores.unsqueeze(2) + torch.where(running.unsqueeze(2), log_p, ended)
            scores, places = totals.flatten(1).topk(width, dim=1)
            parents, chosen = places // vocabulary, places % vocabulary
            tokens = tokens.gather(1, parents.unsqueeze(2).expand(-1, -1, self.length))
            running = self._still(running.gather(1, parents), chosen)
            tokens[:, :, position] = chosen
            if position == self.length - 1 or not running.any():
                break
            rows = (parents + width * torch.arange(batch, device=device).unsqueeze(1)).flatten()
            state = tuple(each[rows] for each in state)
            hidden, state = self.model.step(chosen.flatten(), state)
        return tokens[:, 0]


def log_probabilities(logits: Tensor, tokens: Codes) -> Tensor:
    """log p of tokens (n,) given logits (n, vocabulary), in single precision or better."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -F.cross_entropy(exact, tokens, reduction="none")


def finite(logits: Tensor) -> Tensor:
    """The logits themselves.

    Raises:
        BadItem: some are NaN or infinite, and no token can be chosen.
    """
    if not logits.isfinite().all():
        raise BadItem(
            "The VAE gives tokens probabilities that are not finite.",
            "Expected finite logits.",
            "Run it in fp32; if that does not help, its weights are damaged, or its training diverged.",
        )
    return logits


def before_padding(x: Codes) -> Tensor:
    """The places of tokens up to the first END, which is one of them: a boolean mask (b, t)."""
    ends = (x == END).to(torch.long)
    return ends.cumsum(dim=1) - ends == 0
