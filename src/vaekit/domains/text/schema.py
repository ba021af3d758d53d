"""The vocabulary of sentences: characters, or words between white space."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Line, Record
from vaekit.errors import BadItem, NotFound, NoTrainingData, printable

UNITS = {"characters": "", "words": " "}
"""The kinds of tokens, with the separator between two of them."""
END, UNKNOWN = 0, 1
"""The token behind the last one of a sentence and in all places after it, and the one for what is not in the
vocabulary. The others follow."""
REPLACEMENT = "\ufffd"
"""The text of an unknown token."""


@dataclass(frozen=True)
class TextSchema:
    """Sentences as tokens."""

    unit: str
    """"characters" or "words"."""
    tokens: tuple[str, ...]
    """The vocabulary, without END and UNKNOWN."""
    length: int
    """Tokens of a sentence at most, with the one for its end: sentences are padded to it."""
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.unit not in UNITS or self.length < 1 or not self.tokens or len(set(self.tokens)) < len(self.tokens):
            raise ValueError("it is no vocabulary of different tokens")
        if any(not token or "\n" in token for token in self.tokens):
            raise ValueError("a token is empty or ends a line")
        "".join(self.tokens).encode()  # a UnicodeEncodeError is a ValueError
        object.__setattr__(self, "places", {token: place for place, token in enumerate(self.tokens, UNKNOWN + 1)})

    def as_plain(self) -> dict[str, Any]:
        return {"unit": self.unit, "tokens": list(self.tokens), "length": self.length}

    def vae_settings(self) -> dict[str, Any]:
        return {"net": {"vocabulary": len(self.tokens) + 2, "length": self.length}}

    def example(self) -> Tensor:
        return torch.zeros(1, self.length, dtype=torch.long)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Token numbers (b, length).

        Raises:
            BadItem: a sentence is too long.
        """
        return torch.tensor([self._numbers(record) for record in records], dtype=torch.long).reshape(-1, self.length)

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def _numbers(self, record: Record) -> list[int]:
        if not isinstance(record, Line):
            raise BadItem(f"A {type(record).__name__} is no line of text.", "", "Name a text file.")
        tokens = split(record.text, self.unit)
        if len(tokens) >= self.length:
            raise BadItem(
                f"{printable(record.name)} has {len(tokens)} {self.unit}.",
                f"This VAE takes at most {self.length - 1}.",
                "Divide it into shorter sentences.",
            )
        numbers = [self.places.get(token, UNKNOWN) for token in tokens]
        return numbers + [END] * (self.length - len(numbers))

    def to_items(self, x: Tensor) -> list[str]:
        """Sentences, each up to the first end."""
        return [self._sentence(row) for row in x.tolist()]

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """Sentences have no numeric properties of their own.

        Raises:
            NotFound: always.
        """
        raise NotFound(
            f"Sentences have no property {printable(repr(name))}.",
            "Expected a Python function of sentences, as module:function.",
            "Write one that returns a number for each sentence of a list.",
        )

    def _sentence(self, numbers: Sequence[int]) -> str:
        end = numbers.index(END) if END in numbers else len(numbers)
        names = ("", REPLACEMENT, *self.tokens)
        return UNITS[self.unit].join(names[number] for number in numbers[:end])


def split(text: str, unit: str) -> list[str]:
    """The tokens of a sentence."""
    return text.split() if unit == "words" else list(text)


def fit(records: Iterable[Record], unit: str, vocabulary: int, length: int) -> TextSchema:
    """The schema of the sentences to train on: their most frequent tokens, and the length of the longest.

    Args:
        records: lines of text.
        unit: "characters" or "words".
        vocabulary: the maximum number of tokens that are known.
        length: the maximum number of tokens in a sentence; longer sentences count for nothing.

    Raises:
        NoTrainingData: there is no sentence of that length.
    """
    counts: Counter[str] = Counter()
    longest = shortest = 0
    for record in records:
        tokens = split(record.text, unit) if isinstance(record, Line) else []
        if tokens and len(tokens) <= length:
            counts.update(tokens)
            longest = max(longest, len(tokens))
        elif tokens:
            shortest = min(shortest or len(tokens), len(tokens))
    if not counts:
        told = f"The shortest has {shortest:,} {unit}." if shortest else ""
        raise NoTrainingData(f"No sentence has at most {length:,} {unit}.", told, "Set data.length higher.")
    kept = sorted(counts, key=lambda token: (-counts[token], token))[:vocabulary]
    return TextSchema(unit, tuple(kept), longest + 1)


def schema_from(plain: Mapping[str, Any]) -> TextSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    unit, tokens, length = plain.get("unit"), plain.get("tokens"), plain.get("length")
    if not isinstance(unit, str) or not isinstance(tokens, list) or type(length) is not int:
        raise ValueError("it has no unit, tokens and length")
    if not all(isinstance(token, str) for token in tokens):
        raise ValueError("a token is no text")
    return TextSchema(unit, tuple(tokens), length)
