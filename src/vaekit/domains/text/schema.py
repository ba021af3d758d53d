"""The vocabulary of sentences: words, byte pairs, bytes or characters."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import Line, Record, TextRow
from vaekit.domains.text import byte_pairs
from vaekit.domains.text.units import BPE, BYTE_TOKENS, BYTES, CHARACTERS, SPACED, UNITS, WORDS
from vaekit.domains.tokens import TokenTable, padded
from vaekit.errors import BadItem, NotFound, printable, shorten

KINDS = (WORDS, BPE, BYTES, CHARACTERS)
"""The values of `unit`."""
NOUNS = {BPE: "byte pairs"}
LINE_END = re.compile(r"\r\n|\n|\r")
"""In cells of tables; a sentence is on one line."""
LONGEST = 2**16
"""The maximum number of characters of a sentence. Longer ones are not split into tokens."""


@dataclass(frozen=True)
class TextSchema:
    """Sentences as tokens."""

    unit: str
    """What a token is: one of `KINDS`."""
    tokens: tuple[str, ...]
    """The vocabulary, without END and UNKNOWN."""
    length: int
    """The maximum number of tokens of a sentence, with END: sentences are padded to it."""
    punctuation: bool = False
    """Of words: whether punctuation marks are tokens of their own; otherwise tokens are what is between white space."""
    lowercase: bool = False
    """Whether sentences are converted to lower case."""
    merges: byte_pairs.Merges = ()
    """Of byte pairs."""
    column: str | None = None
    """The column of tables with the sentences, if the recipe names one."""
    table: TokenTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.unit not in KINDS or self.length < 1:
            raise ValueError("its unit or length makes no sense")
        if any("\n" in token for token in self.tokens):
            raise ValueError("a token ends a line")
        if self.unit == BPE:
            byte_pairs.check(self.tokens, self.merges)
        if self.unit == BYTES and self.tokens != BYTE_TOKENS:
            raise ValueError("its tokens are not bytes")
        object.__setattr__(self, "table", TokenTable(self.tokens))

    def as_plain(self) -> dict[str, Any]:
        tokens = {} if self.unit == BYTES else {"tokens": list(self.tokens)}
        merges = {"merges": [list(pair) for pair in self.merges]} if self.merges else {}
        others = {name: getattr(self, name) for name in OPTIONS if getattr(self, name)}
        return {"unit": self.unit, **tokens, "length": self.length, **merges, **others}

    def vae_settings(self) -> dict[str, Any]:
        return {"net": {"vocabulary": self.table.size, "length": self.length}}

    def example(self) -> Tensor:
        return torch.zeros(1, self.length, dtype=torch.long)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Token numbers (b, length).

        Raises:
            BadItem: a sentence is too long, or a row has no column of text.
            MissingPackage: byte pairs need `tokenizers`.
        """
        sentences = self.encode([sentence_of(record, self.column) for record in records])
        for record, sentence in zip(records, sentences, strict=True):
            if len(sentence) >= self.length:
                assert isinstance(record, Line | TextRow)
                raise BadItem(
                    f"{printable(record.name)} has {len(sentence):,} {self.noun}.",
                    f"This VAE takes at most {self.length - 1:,}.",
                    "Divide it into shorter sentences.",
                )
        return padded(sentences, self.length)

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    @property
    def noun(self) -> str:
        """The plural of a token, for messages."""
        return NOUNS.get(self.unit, self.unit)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of the tokens of sentences.

        Raises:
            MissingPackage: byte pairs need `tokenizers`.
        """
        texts = [text.lower() for text in texts] if self.lowercase else texts
        return self._encode(texts)

    @cached_property
    def _encode(self) -> Callable[[Sequence[str]], list[list[int]]]:
        if self.unit == BPE:
            places = byte_pairs.encoder(self.tokens, self.merges)
            first = self.table.size - len(self.tokens)
            return lambda texts: [[place + first for place in sentence] for sentence in places(texts)]
        split, table = UNITS[self.splitting].split, self.table
        return lambda texts: [table.encode(split(text)) for text in texts]

    @property
    def splitting(self) -> str:
        """The key of `UNITS`."""
        return SPACED if self.unit == WORDS and not self.punctuation else self.unit

    def to_items(self, x: Tensor) -> list[str]:
        """Sentences, each up to the first end."""
        return [self.sentence(row) for row in x.tolist()]

    def sentence(self, numbers: Sequence[int]) -> str:
        """The sentence of the numbers of tokens, up to the first end."""
        if self.unit == BPE:
            return byte_pairs.text_of(self.table.decode(numbers, byte_pairs.no_byte()))
        unit = UNITS[self.splitting]
        return unit.join(self.table.decode(numbers, unit.unknown))

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


OPTIONS = ("punctuation", "lowercase", "column")
"""The fields that a file has only if they are set."""


def sentence_of(record: Record, column: str | None) -> str:
    """The text of a record.

    Args:
        record: a line of text, or a row of a table.
        column: of the rows; None for the usual one.

    Raises:
        BadItem: it has none, or its text is too long for any sentence.
    """
    if not isinstance(record, Line | TextRow):
        raise BadItem(f"A {type(record).__name__} is no line of text.", "", "Name a text file.")
    text = text_of(record, column)
    if text is None:
        assert isinstance(record, TextRow)
        raise BadItem(*no_column(record, column))
    if not text and isinstance(record, TextRow):
        raise BadItem(f"{printable(record.name)} has no text.", "", "Fill in its cell, or remove the row.")
    if len(text) > LONGEST:
        raise BadItem(
            f"{printable(record.name)} has {len(text):,} characters.",
            f"A sentence has at most {LONGEST:,}.",
            "Divide it into sentences, one per line.",
        )
    return text


def text_of(record: Line | TextRow, column: str | None) -> str | None:
    """The text of a record, on one line; None for a row whose column of text is not known."""
    if isinstance(record, Line):
        return record.text
    name = column if column in record.values else record.column
    return None if name is None or name not in record.values else " ".join(LINE_END.split(record.values[name])).strip()


def no_column(record: TextRow, column: str | None) -> tuple[str, str, str]:
    """The problem of a row whose column of sentences is not known: found, expected, remedy."""
    names = shorten([repr(name) for name in record.values], 20)
    return (
        f"{printable(record.name)} has the columns {printable(names, 400)}.",
        f"Expected a column {printable(repr(column))}."
        if column
        else "Expected one named 'text' or 'sentence', or a single column of text.",
        "Name the column: --set data.column=NAME when the VAE is trained.",
    )


def schema_from(plain: Mapping[str, Any]) -> TextSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    unit, length = plain.get("unit"), plain.get("length")
    tokens = plain.get("tokens", list(BYTE_TOKENS) if unit == BYTES else None)
    if not isinstance(unit, str) or not isinstance(tokens, list) or type(length) is not int:
        raise ValueError("it has no unit, tokens and length")
    merges = plain.get("merges", [])
    if not all(isinstance(token, str) for token in tokens) or not isinstance(merges, list):
        raise ValueError("a token is no text")
    if not all(isinstance(pair, list) and [type(each) for each in pair] == [str, str] for pair in merges):
        raise ValueError("a merge is no pair of texts")
    column = plain.get("column")
    if not isinstance(column, str | None):
        raise ValueError("its column is no text")
    flags = {name: bool(plain.get(name, False)) for name in ("punctuation", "lowercase")}
    return TextSchema(
        unit, tuple(tokens), length, merges=tuple((one, two) for one, two in merges), column=column, **flags
    )
