"""Units of text: what a token is, and how sentences become tokens and are joined again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vaekit.domains.text.words import join_words, split_words

CHARACTERS, WORDS, SPACED, BYTES, BPE = "characters", "words", "spaced", "bytes", "bpe"
REPLACEMENT = "\ufffd"
"""The text of an unknown token."""
NO_BYTE = "\xff"
"""A byte that UTF-8 does not have, for an unknown one."""
BYTE_TOKENS = tuple(chr(byte) for byte in range(256) if byte not in b"\0\n\r")
"""One character for each byte that a line of UTF-8 may have."""


@dataclass(frozen=True)
class Unit:
    """How a sentence becomes tokens of one kind."""

    split: Callable[[str], Sequence[str]]
    join: Callable[[Iterable[str]], str]
    """Its inverse."""
    unknown: str = REPLACEMENT
    """In place of an unknown token, for `join`."""


def bytes_of(text: str) -> list[str]:
    """The bytes of a text, as characters of Latin-1."""
    return list(text.encode("utf-8", "replace").decode("latin-1"))


def text_of_bytes(tokens: Iterable[str]) -> str:
    """The text of bytes; U+FFFD for what is not UTF-8."""
    return "".join(tokens).encode("latin-1").decode("utf-8", "replace")


UNITS: Mapping[str, Unit] = {
    CHARACTERS: Unit(list, "".join),
    WORDS: Unit(split_words, join_words),
    SPACED: Unit(str.split, " ".join),
    BYTES: Unit(bytes_of, text_of_bytes, NO_BYTE),
}
"""Units whose tokens are parts of the text. Byte pairs are learned; see `byte_pairs`. "spaced" is what is between white
space: the unit "words" of files without `punctuation`."""
