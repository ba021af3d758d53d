"""Items of which a VAE knows few tokens: probably of another kind than those that it was trained on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.distributions.sequences import before_padding
from vaekit.domains.domain import ItemBatch, Schema
from vaekit.domains.token_explanation import HasTokens
from vaekit.domains.tokens import UNKNOWN
from vaekit.metrics.measure import Measure

MANY = 0.5
"""The share of unknown tokens above which results mean little."""
SHARE = "unknown_tokens"
"""The name of the measure."""


def share_of_unknown(tokenization: str) -> Measure:
    """The measure: the share of tokens that are not in the vocabulary, in percent.

    Args:
        tokenization: what a token is, a phrase.
    """
    text = f"Share of tokens, without ends, that the vocabulary lacks. Tokens: {tokenization}."
    return Measure(SHARE, "unknown tokens", "%", "lower", text)


def unknown_counts(x: Tensor) -> Tensor:
    """The number of unknown tokens and of all, without ends, of sequences (b, t): (b, 2)."""
    counted = before_padding(x)
    return torch.stack([((x == UNKNOWN) & counted).sum(dim=1), counted.sum(dim=1) - 1], dim=1)


def note_on_unknown(share: float, items: str) -> tuple[str, ...]:
    """What to say of items with this share of unknown tokens: nothing, or a sentence.

    Args:
        share: from 0 to 1.
        items: noun for the items.
    """
    if not share > MANY:
        return ()
    return (
        f"{share:.0%} of the tokens of these {items} are not in the vocabulary of the VAE: it was trained on other "
        f"{items}, and results mean little.",
    )


@dataclass(eq=False)
class UnknownTokens:
    """Counts the unknown tokens of items; of schemas without tokens there are none."""

    schema: Schema
    items: str
    """Noun for the items."""
    unknown: int = 0
    every: int = 0

    def add(self, x: Tensor) -> None:
        """Count those of items (b, ...)."""
        if isinstance(self.schema, HasTokens):
            unknown, every = unknown_counts(x).sum(dim=0).tolist()
            self.unknown, self.every = self.unknown + unknown, self.every + every

    def of_batches(self, batches: Iterable[ItemBatch]) -> Iterator[ItemBatch]:
        """The same batches, whose items are counted when their turn comes."""
        for batch in batches:
            usable = [place for place in range(len(batch.names)) if place not in batch.problems]
            self.add(batch.x[torch.tensor(usable, dtype=torch.long)])
            yield batch

    @property
    def note(self) -> tuple[str, ...]:
        """What to say of the items."""
        return note_on_unknown(self.unknown / max(1, self.every), self.items)
