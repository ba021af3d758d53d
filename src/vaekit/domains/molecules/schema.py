"""The schema of molecules: how they are normalized and written as tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaekit.datasets.dataset import NamedLine, Record
from vaekit.domains.molecules.chemistry import EVERYTHING, Normalization, shown
from vaekit.domains.molecules.codecs import CODECS, decode, encode
from vaekit.domains.molecules.records import key_of, text_of, unreadable
from vaekit.domains.tokens import UNKNOWN, TokenTable, padded, until_end
from vaekit.errors import NotFound, counted, printable

MOST_LENGTH = 2**16
"""Tokens of a molecule."""


@dataclass(frozen=True)
class MoleculeSchema:
    """Molecules as tokens. Items are canonical SMILES; an empty text is an invalid molecule, which only a decoder
    makes."""

    codec: str
    """The name of a codec."""
    tokens: tuple[str, ...]
    """The vocabulary."""
    length: int
    """The maximum number of tokens, with END."""
    normal: Normalization = EVERYTHING
    column: str = ""
    """Of SMILES, in tables; empty for the usual one."""
    table: TokenTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.codec not in CODECS or not 1 <= self.length <= MOST_LENGTH:
            raise ValueError("its codec or length does not exist")
        object.__setattr__(self, "table", TokenTable(self.tokens))

    def as_plain(self) -> dict[str, Any]:
        return {
            "codec": self.codec,
            "tokens": list(self.tokens),
            "length": self.length,
            "stereo": self.normal.stereo,
            "fragments": self.normal.fragments,
            "column": self.column,
        }

    def vae_settings(self) -> dict[str, Any]:
        return {"net": {"vocabulary": self.table.size, "length": self.length}}

    def example(self) -> Tensor:
        return torch.zeros(1, self.length, dtype=torch.long)

    def to_tensor(self, records: Sequence[Record]) -> Tensor:
        """Token numbers (b, length).

        Raises:
            BadItem: a record is no molecule, or one that cannot be written with these tokens so that it comes back.
        """
        return padded([self._numbers(record) for record in records], self.length)

    def to_small_tensor(self, records: Sequence[Record], side: int) -> Tensor:
        return self.to_tensor(records)

    def from_smiles(self, smiles: Sequence[str]) -> Tensor:
        """The same for SMILES (b,)."""
        return self.to_tensor([NamedLine(f"molecule {place}", text) for place, text in enumerate(smiles)])

    def _numbers(self, record: Record) -> list[int]:
        name, text = key_of(record), text_of(record, self.column)
        try:
            tokens = encode(text, self.codec, self.normal)
            numbers = self.table.encode(tokens)
            reason = self.problem(len(tokens), [tokens[i] for i, each in enumerate(numbers) if each == UNKNOWN])
            if reason:
                raise ValueError(reason)
        except ValueError as error:
            raise unreadable(name, shown(text), str(error)) from error
        return numbers

    def problem(self, count: int, unknown: Sequence[str]) -> str:
        """Why a molecule with this number of tokens, and these unknown ones, cannot be taken; empty if it can."""
        if unknown:
            return f"it needs the token {printable(unknown[0], 40)}, which the VAE was not trained with"
        if count >= self.length:
            return f"it has {counted(count, 'token')}, and this VAE takes at most {self.length - 1:,}"
        return ""

    def to_items(self, x: Tensor) -> list[str]:
        """Canonical SMILES; empty for what is no molecule."""
        return [self._smiles(until_end(row)) for row in x.tolist()]

    def _smiles(self, numbers: Sequence[int]) -> str:
        return "" if UNKNOWN in numbers else decode(self.table.decode(numbers, ""), self.codec)

    def property_named(self, name: str) -> Callable[[Tensor], Tensor]:
        """Molecules have no differentiable properties.

        Raises:
            NotFound: always.
        """
        raise NotFound(
            f"Molecules have no property {printable(repr(name))}.",
            "Expected a Python function of SMILES, as module:function.",
            "Write one that returns a number for each SMILES of a list.",
        )


def schema_from(plain: Mapping[str, Any]) -> MoleculeSchema:
    """The schema that a file holds.

    Raises:
        ValueError: it is damaged.
    """
    codec, tokens, length, column = (plain.get(name) for name in ("codec", "tokens", "length", "column"))
    stereo, fragments = plain.get("stereo"), plain.get("fragments")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("it has no tokens")
    if not isinstance(codec, str) or type(length) is not int or not isinstance(column, str):
        raise ValueError("it has no codec, length or column")
    if type(stereo) is not bool or not isinstance(fragments, str):
        raise ValueError("it does not say what is kept of molecules")
    return MoleculeSchema(codec, tuple(tokens), length, Normalization(stereo, fragments), column)
