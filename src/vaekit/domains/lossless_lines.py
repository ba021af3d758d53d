"""Items that are lines of text and sequences of tokens, for lossless compression."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import torch
from torch import Tensor

from vaekit.atomic import write_lines
from vaekit.codec.bits_back import Coding
from vaekit.codec.latent_cells import LatentGrid
from vaekit.codec.token_coding import TokenCoding, padded
from vaekit.datasets.dataset import Record
from vaekit.distributions.sequences import before_padding
from vaekit.domains.lossless import Restored
from vaekit.vae import VAE

REST, WORDS, WHOLE = b"+", b"?", b"="
"""The first byte of a remainder: what follows the text of the item, the texts of its unknown tokens, or the whole
line."""
UNKNOWN_TEXT = "\N{REPLACEMENT CHARACTER}"
"""Of an unknown token."""
BETWEEN = "\0"
"""Between the texts of unknown tokens."""


@dataclass(frozen=True)
class LosslessTokens:
    """Items that are sequences of tokens."""

    length: int
    """The maximum number of tokens, with the end."""
    vocabulary: int

    def coding(self, vae: VAE, grid: LatentGrid) -> Coding:
        shape = vae.geometry.latent_shape
        assert shape is not None, "sequences have one latent shape"
        return TokenCoding(vae, grid, shape, self.length, self.vocabulary)

    def codable(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool)

    def canonical(self, x: Tensor) -> Tensor:
        return padded(x)

    def values(self, x: Tensor) -> int:
        """Tokens with ends."""
        return int(before_padding(x).sum())


@dataclass(frozen=True)
class LosslessLines(LosslessTokens):
    """One line for each item."""

    text_of: Callable[[Record], str]
    """The line of a record. May raise BadItem."""

    def remainder(self, record: Record, item: str | None) -> bytes:
        """What follows the item in its line, such as the name of a molecule; or the texts of tokens that the VAE does
        not know; or the whole line, if it is another one."""
        line = self.text_of(record)
        if item is not None and line.startswith(item):
            return REST + line[len(item) :].encode() if line != item else b""
        unknown = None if item is None or UNKNOWN_TEXT not in item else template(item).fullmatch(line)
        if unknown and BETWEEN not in line:
            return WORDS + BETWEEN.join(unknown.groups()).encode()
        return WHOLE + line.encode()

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """All lines in one file."""
        write_lines(out, map(line_of, items))
        return [out]


def template(item: str) -> re.Pattern[str]:
    """The lines that an item with unknown tokens can be."""
    return re.compile("(.+?)".join(map(re.escape, item.split(UNKNOWN_TEXT))), re.DOTALL)


def line_of(restored: Restored) -> str:
    """The line of an item.

    Raises:
        ValueError: its remainder is not as it was written.
    """
    kind, rest, item = restored.remainder[:1], restored.remainder[1:].decode(), restored.item
    if kind == WHOLE:
        return rest
    if item is None or kind not in (b"", REST, WORDS):
        raise ValueError("the text of an item is missing")
    if kind != WORDS:
        return f"{item}{rest}"
    known, unknown = str(item).split(UNKNOWN_TEXT), rest.split(BETWEEN)
    if len(known) != len(unknown) + 1:
        raise ValueError("the unknown tokens of an item are missing")
    return "".join(chain.from_iterable(zip_longest(known, unknown, fillvalue="")))
