"""Numbers and pictures for TensorBoard, where its writer is installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import MissingPackage
from vaekit.optional import need

FOLDER = "board"


class Board:
    """Writes event files that TensorBoard reads, with `tensorboardX` (pip install 'vaekit[tensorboard]').

    Without the package nothing is written: the log has all numbers.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self._writer: Any = None
        try:
            package = need("tensorboardX", "write for TensorBoard", "tensorboard")
        except MissingPackage:
            return
        # What an earlier call wrote behind the state that this one goes on from is hidden.
        self._writer = package.SummaryWriter(str(folder / FOLDER), purge_step=samples)

    def numbers(self, kind: str, values: Mapping[str, Any], samples: int) -> None:
        """Scalars, under `kind/name`; lists are left out."""
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._writer.add_scalar(f"{kind}/{name}", value, samples)

    def picture(self, name: str, pixels: Tensor, samples: int) -> None:
        """A picture (3, h, w) in [-1, 1]."""
        if self._writer is not None:
            levels = pixels.detach().cpu().add(1).mul(127.5).clamp(0, 255).round().to(torch.uint8)
            self._writer.add_image(name, levels.numpy(), samples)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
