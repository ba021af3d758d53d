"""BLEU-4 of a corpus (Papineni et al. 2002), as sacrebleu computes it by default (Post 2018, arXiv 1804.08771).

Tokens are those of mteval-v13a, case is kept, and orders without a match are smoothed exponentially.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

ORDERS = 4
"""The longest sequences of tokens that are compared."""
FIELDS = 2 * ORDERS + 2
"""Counts of a pair: matches of each order, all of each order, and the tokens of both texts."""
ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
RULES = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""Of mteval-v13a: what is a token of its own."""


def tokens_of(text: str) -> list[str]:
    """The tokens of a text by mteval-v13a.

    >>> tokens_of("It's 3.5 well-known, no?")
    ["It's", '3.5', 'well-known', ',', 'no', '?']
    """
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    text = f" {text} "
    for rule, replacement in RULES:
        text = rule.sub(replacement, text)
    return text.split()


def counts_of(result: str, reference: str) -> list[int]:
    """The counts of a pair of texts, of which BLEU is a function of the sums; see `FIELDS`."""
    one, other = tokens_of(result), tokens_of(reference)
    matches = [sum((ngrams(one, order) & ngrams(other, order)).values()) for order in range(1, ORDERS + 1)]
    every = [max(len(one) - order + 1, 0) for order in range(1, ORDERS + 1)]
    return [*matches, *every, len(one), len(other)]


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """The sequences of `order` tokens."""
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def bleu(sums: Sequence[float] | Sequence[int]) -> float:
    """BLEU in %, from the sums of counts over all pairs."""
    matches, every = sums[:ORDERS], sums[ORDERS : 2 * ORDERS]
    result, reference = sums[2 * ORDERS :]
    if not matches[0]:
        return 0.0
    logs, smoothing = [], 1.0
    for matched, count in zip(matches, every, strict=True):
        if not count:
            return 0.0
        if not matched:
            smoothing *= 2
        logs.append(math.log(matched / count if matched else 1 / (smoothing * count)))
    brevity = min(0.0, 1 - reference / result)
    return 100 * math.exp(brevity + sum(logs) / ORDERS)
