"""The numbers of a run: a file with one line for each, the board, and whoever listens."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vaekit.training.board import Board
from vaekit.whole_files import whole_file

LOG = "log.jsonl"


@dataclass(frozen=True)
class News:
    """What is told while a run goes on."""

    samples: int
    seconds: float
    """Since this call began."""
    numbers: Mapping[str, float | list[float]]
    """Means since the last news: parts of the loss, `rate`, `gradient`; or of the held-out items."""
    held_out: bool
    total: int
    """Samples to be seen in all."""


class Log:
    """The file with all numbers. Lines behind the state that a run goes on from are written again."""

    def __init__(self, folder: Path, samples: int, tell: Callable[[News], None]) -> None:
        self.path = folder / LOG
        self.tell = tell
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if told_before(line, samples)]
        with whole_file(self.path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), "utf-8")
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)
        self.board = Board(folder, samples)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.board.close()

    def write(self, news: News) -> None:
        kind = {"held_out": True} if news.held_out else {}
        numbers = {name: short(value) for name, value in news.numbers.items()}
        line = {"samples": news.samples, "seconds": round(news.seconds, 1), **kind, **numbers}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        self.board.numbers("held out" if news.held_out else "training", news.numbers, news.samples)
        self.tell(news)


def short(value: float | list[float]) -> float | list[float]:
    """A number with as many digits as anyone reads."""
    return [float(f"{each:.4g}") for each in value] if isinstance(value, list) else float(f"{value:.7g}")


def told_before(line: str, samples: int) -> bool:
    """Whether a line of a log is about no more than so many samples; a line cut short by a crash is not."""
    try:
        return int(json.loads(line)["samples"]) <= samples
    except (ValueError, KeyError, TypeError):
        return False
