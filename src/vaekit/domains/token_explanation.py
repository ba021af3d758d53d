"""Why a sequence is improbable: its tokens, and what was expected in their places."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vaekit.distributions import AutoregressiveCategorical
from vaekit.distributions.sequences import END, before_padding
from vaekit.domains.attribution import Attribution, Explanation, Reason
from vaekit.domains.tokens import UNKNOWN, TokenTable

END_TEXT, UNKNOWN_TEXT = "(end)", "(unknown)"
"""The texts of END and UNKNOWN."""


@runtime_checkable
class HasTokens(Protocol):
    """A schema of token sequences."""

    @property
    def table(self) -> TokenTable:
        """The vocabulary."""


def explain_tokens(found: Attribution, table: TokenTable) -> Explanation:
    """The tokens of a sequence, the largest contribution first. What is expected in the place of a token is the most
    probable one behind the true tokens before it, given the latent; with its probability.

    """
    x = found.x.to(found.nats.device)
    count = int(before_padding(x).sum())
    expected, probabilities = expected_tokens(found.likelihood, found.x, count)
    reasons = [
        Reason(f"token {place}", text_of(token, table), text_of(likely, table), nats, f"p = {probability:.2f}")
        for place, (token, likely, nats, probability) in enumerate(
            zip(x[0, :count].tolist(), expected, found.nats[0, :count].tolist(), probabilities, strict=True), start=1
        )
    ]
    reasons.sort(key=lambda reason: -reason.nats)
    return Explanation(found.name, sum(reason.nats for reason in reasons), reasons)


@torch.no_grad()
def expected_tokens(likelihood: object, x: Tensor, count: int) -> tuple[list[int], list[float]]:
    """The most probable tokens in the first places of a sequence (1, t), each given the true ones before it, and their
    probabilities."""
    assert isinstance(likelihood, AutoregressiveCategorical)
    previous = x[:, : count - 1].to(likelihood.context.device)
    logits = likelihood.model.logits(likelihood.model.hidden(likelihood.context, previous))[0]
    best = logits.float().softmax(dim=-1).max(dim=-1)
    return best.indices.tolist(), best.values.tolist()


def text_of(token: int, table: TokenTable) -> str:
    """The text of a token, in quotes if it is blank.

    >>> table = TokenTable(("a", " "))
    >>> [text_of(number, table) for number in range(4)]
    ['(end)', '(unknown)', 'a', "' '"]
    """
    if token in (END, UNKNOWN):
        return END_TEXT if token == END else UNKNOWN_TEXT
    text = table.tokens[token - UNKNOWN - 1]
    return text if text.strip() == text and text.isprintable() else repr(text)
