"""Items that are lines of text and sequences of tokens, for lossless compression."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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

REST, WHOLE = b"+", b"="
"""The first byte of a remainder: what follows the text of the item, or the whole line."""


@dataclass(frozen=True)
class LosslessLines:
    """One line for each item."""

    length: int
    """The maximum number of tokens, with the end."""
    vocabulary: int
    text_of: Callable[[Record], str]
    """The line of a record. May raise BadItem."""

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

    def remainder(self, record: Record, item: str | None) -> bytes:
        """What follows the item in its line, such as the name of a molecule; or the whole line, if the item has another
        text."""
        line = self.text_of(record)
        if item is not None and line.startswith(item):
            return REST + line[len(item) :].encode() if line != item else b""
        return WHOLE + line.encode()

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """All lines in one file."""
        write_lines(out, map(line_of, items))
        return [out]


def line_of(restored: Restored) -> str:
    """The line of an item.

    Raises:
        ValueError: its remainder is not as it was written.
    """
    kind, rest = restored.remainder[:1], restored.remainder[1:].decode()
    if kind == WHOLE:
        return rest
    if restored.item is None or kind not in (b"", REST):
        raise ValueError("the text of an item is missing")
    return f"{restored.item}{rest}"
