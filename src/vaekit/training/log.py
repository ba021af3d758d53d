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
        # What an earlier call wrote behind the state that this one goes on from is hidden.
        self._writer = package.SummaryWriter(str(folder / FOLDER), purge_step=samples)

    def numbers(self, kind: str, values: Mapping[str, Any], samples: int) -> None:
        """Scalars, under `kind/name`; lists are left out."""
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._writer.add_scalar(f"{kind}/{name}", value, samples)

    def image(self, name: str, pixels: Tensor, samples: int) -> None:
        """An image (3, h, w) in [-1, 1]."""
        if self._writer is not None:
            levels = nearest_levels(pixels.detach().cpu()).to(torch.uint8)
            self._writer.add_image(name, levels.numpy(), samples)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True)
class LogEvent:
    """A progress report of a run."""

    samples: int
    seconds: float
    """Since this call began."""
    numbers: Mapping[str, float | list[float]]
    """Means since the last news: parts of the loss, `rate`, `gradient`; or of the held-out items."""
    held_out: bool
    total: int
    """The total number of samples."""


class Log:
    """The log file with all values. Lines after the resumed state are replaced."""

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

    def write(self, news: LogEvent) -> None:
        kind = {"held_out": True} if news.held_out else {}
        numbers = {name: short(value) for name, value in news.numbers.items()}
        line = {"samples": news.samples, "seconds": round(news.seconds, 1), **kind, **numbers}
        self.file.write(dumps(line, indent=None) + "\n")
        self.file.flush()
        self.board.numbers("held out" if news.held_out else "training", news.numbers, news.samples)
        self.tell(news)


def short(value: float | list[float]) -> float | list[float]:
    """A value with a readable number of digits."""
    return [float(f"{each:.4g}") for each in value] if isinstance(value, list) else float(f"{value:.7g}")


def events_until(line: str, samples: int) -> bool:
    """Whether a line of a log is about no more than so many samples; a line cut short by a crash is not."""
    try:
        return int(json.loads(line)["samples"]) <= samples
    except (ValueError, KeyError, TypeError):
        return False
