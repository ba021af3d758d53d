"""The log of a run: a JSON-lines file, and TensorBoard's."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vaekit.atomic import atomic_file, cannot_write
from vaekit.errors import CannotWriteHere
from vaekit.json import dumps
from vaekit.reading import LINES, exists, read_text
from vaekit.run_folder import LOG
from vaekit.training.tensorboard import TensorBoardWriter


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
        say: called with messages for the user.

    Raises:
        CannotWrite: e.g. the disk is full, or the old file cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        samples: int,
        tell: Callable[[LogEvent], None],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = folder / LOG
        self.tell = tell
        try:
            lines = read_text(self.path, LINES, errors="replace").splitlines() if exists(self.path) else []
        except OSError as error:
            raise cannot_write(self.path, error) from error
        kept = [line for line in lines if events_until(line, samples)]
        with atomic_file(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        try:
            self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.board = TensorBoardWriter(folder, samples, say)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # every line was flushed; one that could not be is not written now either
            self.file.close()
        self.board.close()

    def write(self, event: LogEvent) -> None:
        """Write a line.

        Raises:
            CannotWriteHere: e.g. the disk is full. The same command resumes the run from its last checkpoint.
        """
        kind = {"held_out": True} if event.held_out else {}
        numbers = {name: short(value) for name, value in event.numbers.items()}
        line = {"samples": event.samples, "seconds": round(event.seconds, 1), **kind, **numbers}
        try:
            self.file.write(dumps(line, indent=None) + "\n")
            self.file.flush()
        except OSError as error:
            raise cannot_write(self.path, error, CannotWriteHere) from error
        self.board.numbers("held out" if event.held_out else "training", event.numbers, event.samples)
        self.tell(event)


def short(value: float | list[float]) -> float | list[float]:
    """A value with a readable number of digits."""
    return [float(f"{each:.4g}") for each in value] if isinstance(value, list) else float(f"{value:.7g}")


def events_until(line: str, samples: int) -> bool:
    """Whether a line of a log is about at most `samples` samples; False for a damaged one, such as a crash leaves."""
    try:
        return int(json.loads(line)["samples"]) <= samples
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False
