"""A sample of a stream in bounded memory: the items whose names have the smallest hashes, whatever their order."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.choose import rank


class HashSample:
    """Rows of several tensors, one for each chosen item.

    Args:
        limit: the maximum number of items.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        """Items that were added, chosen or not."""
        self._hashes: list[np.ndarray] = []
        self._rows: list[tuple[Tensor, ...]] = []
        self._waiting = 0

    def add(self, names: Sequence[str], *rows: Tensor) -> None:
        """Add items.

        Args:
            names: of the items.
            rows: tensors (b, ...), the same number of them each time.
        """
        if not names:
            return
        self.count += len(names)
        self._hashes.append(np.array([int.from_bytes(rank(name, 0)[:8], "big") for name in names], np.uint64))
        self._rows.append(tuple(each.detach().cpu() for each in rows))
        self._waiting += len(names)
        if self._waiting > 2 * self.limit:
            self._reduce()

    def rows(self) -> tuple[Tensor, ...]:
        """The rows of the chosen items, in an order independent of that of the stream; none if it was empty."""
        if not self._rows:
            return ()
        self._reduce()
        return self._rows[0]

    def _reduce(self) -> None:
        hashes = np.concatenate(self._hashes)
        order = np.argsort(hashes, kind="stable")[: self.limit]
        chosen = torch.from_numpy(order)
        self._rows = [tuple(torch.cat(parts)[chosen] for parts in zip(*self._rows, strict=True))]
        self._hashes = [hashes[order]]
        self._waiting = len(order)
