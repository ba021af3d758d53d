"""The latents of all items of an evaluation, in a temporary file: memory does not grow with their number."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from vaekit.atomic import cannot_write
from vaekit.errors import CannotWriteHere


class LatentStore:
    """Latents (z, ...) in the order in which they were added, in single precision. `close`, or the end of the process,
    removes the file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
        self._map: np.memmap | None = None
        self.shapes: Counter[tuple[int, ...]] = Counter()
        """The number of latents of each shape."""

    def __len__(self) -> int:
        return self.shapes.total()

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of all latents; None if they differ, or there are none."""
        return next(iter(self.shapes)) if len(self.shapes) == 1 else None

    def add(self, latent: Tensor) -> None:
        """Add one latent.

        Raises:
            CannotWriteHere: the disk of temporary files is full.
        """
        try:
            self._file.write(latent.detach().cpu().float().contiguous().numpy().tobytes())
        except OSError as error:
            raise cannot_write(Path(tempfile.gettempdir()), error, CannotWriteHere) from error
        self.shapes[tuple(latent.shape)] += 1
        self._map = None

    def rows(self, start: int, stop: int) -> Tensor:
        """Latents `start` to `stop`, flattened, (n, d); all latents have one shape."""
        return torch.from_numpy(self._mapped()[start:stop].copy())

    def __getitem__(self, index: int) -> Tensor:
        """One latent, (z, ...); all latents have one shape."""
        assert self.shape is not None
        return self.rows(index, index + 1).view(self.shape)

    def close(self) -> None:
        """Remove the file."""
        self._map = None
        self._file.close()

    def _mapped(self) -> "np.memmap":
        if self._map is None:
            assert self.shape is not None
            try:
                self._file.flush()
            except OSError as error:
                raise cannot_write(Path(tempfile.gettempdir()), error, CannotWriteHere) from error
            self._map = np.memmap(self._file, np.float32, "r", shape=(len(self), int(np.prod(self.shape))))
        return self._map
