"""Sequences of tokens, as schemas of discrete sequences share them: numbers, their padding and their table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaekit.distributions.sequences import END

UNKNOWN = 1
"""The number of every token that is not in the table. The others follow."""


@dataclass(frozen=True)
class TokenTable:
    """A vocabulary.

    Raises:
        ValueError: a token is empty, is there twice, or is no valid Unicode.
    """

    tokens: tuple[str, ...]
    """In the order of their numbers, from 2 on."""
    numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tokens or not all(self.tokens) or len(set(self.tokens)) < len(self.tokens):
            raise ValueError("it is no vocabulary of different tokens")
        "".join(self.tokens).encode()  # a UnicodeEncodeError is a ValueError
        object.__setattr__(self, "numbers", {token: number for number, token in enumerate(self.tokens, UNKNOWN + 1)})

    @property
    def size(self) -> int:
        """The number of tokens, with END and UNKNOWN."""
        return len(self.tokens) + UNKNOWN + 1

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The numbers of tokens."""
        return [self.numbers.get(token, UNKNOWN) for token in tokens]

    def decode(self, numbers: Sequence[int], unknown: str) -> list[str]:
        """The tokens of numbers up to the first END.

        Args:
            numbers: the sequence.
            unknown: the text of UNKNOWN.
        """
        names = ("", unknown, *self.tokens)
        return [names[number] for number in until_end(numbers)]


def until_end(numbers: Sequence[int]) -> Sequence[int]:
    """A sequence without its END and padding."""
    return numbers[: numbers.index(END)] if END in numbers else numbers


def padded(sequences: Sequence[Sequence[int]], length: int) -> Tensor:
    """Sequences of at most `length - 1` tokens as integers (b, length), each with END in all places after the last."""
    rows = [[*sequence, *[END] * (length - len(sequence))] for sequence in sequences]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, length)
