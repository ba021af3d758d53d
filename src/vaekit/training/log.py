"""Logs: a JSON-lines file, and TensorBoard if its writer is installed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.atomic import atomic_file
from vaekit.errors import MissingPackage
from vaekit.json import dumps
from vaekit.metrics.image.levels import nearest_levels
from vaekit.optional import require
from vaekit.run_folder import LOG

FOLDER = "board"
"""The folder of TensorBoard's event files in the run."""


class TensorBoardWriter:
    """Writes event files that TensorBoard reads, with `tensorboardX` (pip install 'vaekit[tensorboard]').

    Without the package nothing is written: the log file has all values.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self._writer: Any = None
        try:
            package = require("tensorboardX", "write for TensorBoard", "tensorboard")
        except MissingPackage:
            return
        # Hides what an earlier call wrote after the checkpoint that this one resumes from.
        self._writer = package.SummaryWriter(str(folder / FOLDER), purge_step=samples)

    def numbers(self, kind: str, values: Mapping[str, Any], samples: int) -> None:
        """Write scalars as `kind/name`; lists are ignored."""
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._writer.add_scalar(f"{kind}/{name}", value, samples)

    def image(self, name: str, pixels: Tensor, samples: int) -> None:
        """Write an image (3, h, w) in [-1, 1]."""
        if self._writer is not None:
            levels = nearest_levels(pixels.detach().cpu()).to(torch.uint8)
            self._writer.add_image(name, levels.numpy(), samples)

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True)
class LogEvent:
    """A progress report of a run."""

    samples: int
    seconds: float
    """Since this call began."""
    numbers: Mapping[str, float | list[float]]
    """Means since the last event: terms of the loss, `rate`, `gradient`; or the validation of held-out items."""
    held_out: bool
    """Whether it is a validation."""
    total: int
    """The total number of samples."""


class Log:
    """The log file with all values.

    Args:
        folder: of the run.
        samples: of the checkpoint that the run resumes from; later lines are removed.
        tell: called with every event.
    """

    def __init__(self, folder: Path, samples: int, tell: Callable[[LogEvent], None]) -> None:
        self.path = folder / LOG
        self.tell = tell
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if events_until(line, samples)]
        with atomic_file(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)
        self.board = TensorBoardWriter(folder, samples)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.board.close()

    def write(self, event: LogEvent) -> None:
        """Write a line."""
        kind = {"held_out": True} if event.held_out else {}
        numbers = {name: short(value) for name, value in event.numbers.items()}
        line = {"samples": event.samples, "seconds": round(event.seconds, 1), **kind, **numbers}
        self.file.write(dumps(line, indent=None) + "\n")
        self.file.flush()
        self.board.numbers("held out" if event.held_out else "training", event.numbers, event.samples)
        self.tell(event)


def short(value: float | list[float]) -> float | list[float]:
    """A value with a readable number of digits."""
    return [float(f"{each:.4g}") for each in value] if isinstance(value, list) else float(f"{value:.7g}")


def events_until(line: str, samples: int) -> bool:
    """Whether a line of a log is about at most `samples` samples; False for a line that a crash cut short."""
    try:
        return int(json.loads(line)["samples"]) <= samples
    except (ValueError, KeyError, TypeError):
        return False
