"""How similar two sentences are."""

from collections.abc import Sequence

from vaekit.domains.item_functions import ItemSimilarity
from vaekit.domains.text.words import split_words


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The least number of tokens to insert, remove or replace (Levenshtein 1966).

    >>> edit_distance("a big dog runs".split(), "a dog ran".split())
    2
    """
    distances = list(range(len(other) + 1))
    for row, token in enumerate(one, 1):
        diagonal, distances[0] = distances[0], row
        for column, each in enumerate(other, 1):
            best = min(distances[column] + 1, distances[column - 1] + 1, diagonal + (token != each))
            diagonal, distances[column] = distances[column], best
    return distances[-1]


def kept_words(one: Sequence[str], other: Sequence[str]) -> list[float]:
    """The similarity of each pair of sentences: 1 minus their edit distance in words and punctuation marks, divided by
    the length of the longer one.

    >>> kept_words(["a dog runs.", ""], ["a dog ran.", ""])
    [0.75, 1.0]
    """
    pairs = [(split_words(left), split_words(right)) for left, right in zip(one, other, strict=True)]
    return [1 - edit_distance(left, right) / max(len(left), len(right), 1) for left, right in pairs]


WORDS_KEPT = ItemSimilarity("words kept", kept_words)
