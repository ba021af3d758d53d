"""The interface of a domain for lossless compression."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from vaekit.codec.bits_back import Coding
from vaekit.codec.latent_cells import LatentGrid
from vaekit.datasets.dataset import Record
from vaekit.vae import VAE


@dataclass(frozen=True, eq=False)
class Restored:
    """An item as it was compressed."""

    name: str
    item: Any
    """From the VAE; None if it was stored without it."""
    remainder: bytes
    """What the item lacks; see `LosslessItems.remainder`."""


@runtime_checkable
class LosslessItems(Protocol):
    """What is coded of the items of a domain, for a schema, and what comes back."""

    def coding(self, vae: VAE, grid: LatentGrid) -> Coding:
        """The distributions of a VAE in double precision.

        Raises:
            BadPlan: it has none for such items.
        """

    def codable(self, x: Tensor) -> Tensor:
        """Whether each item (b, ...) has only values that have a probability, a boolean tensor (b,)."""

    def canonical(self, x: Tensor) -> Tensor:
        """Items (b, ...) as they come back; see `Coding.canonical`."""

    def values(self, x: Tensor) -> int:
        """The number of values of items (b, ...) that have a probability of their own: pixels and channels, tokens."""

    def remainder(self, record: Record, item: Any) -> bytes:
        """What a record has in addition to the item that the VAE codes, empty if that is all of it; the whole record if
        the item is None.

        Raises:
            BadItem, NotFound: the record cannot be read.
        """

    def write(self, items: Iterable[Restored], out: Path) -> Sequence[Path]:
        """Write items back.

        Raises:
            CannotWrite: the disk is full, or the like.
            ValueError: names or remainders are not as they were written.
        """
