"""Text files with one item per line: UTF-8; empty lines are ignored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Line, RecordFormat, Splits
from vaekit.datasets.label_columns import name_columns
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_files import is_text, joint_digest, read_text
from vaekit.errors import BadItem, printable

SUFFIXES = frozenset({".txt", ".text"})


@dataclass(frozen=True, eq=False)
class TextLines:
    """The lines of one or more files, in memory."""

    lines: Sequence[tuple[str, int, str]]
    """(file name, line number, text without leading and trailing whitespace)."""
    digest: str
    kind = "text"

    def __len__(self) -> int:
        return len(self.lines)

    def key(self, item: int) -> str:
        file, number, _ = self.lines[item]
        return f"{file}:{number}"

    def read(self, item: int) -> Line:
        text, key = self.lines[item][2], self.key(item)
        if "\0" in text:
            raise BadItem(f"{printable(key)} contains a NUL character.", "", "Remove it.")
        return Line(key, text)

    def label_names(self) -> Sequence[str]:
        return list(self._columns())

    def labels(self, name: str) -> Sequence[str | None]:
        return self._columns()[name]

    def _columns(self) -> dict[str, list[str | None]]:
        return name_columns([file for file, _, _ in self.lines], contents=True)


def gather_lines(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> TextLines:
    """Open several files.

    Raises:
        NoTrainingData: a file is not UTF-8, or cannot be read.
    """
    del title, wanted, log
    lines: list[tuple[str, int, str]] = []
    digests: list[str] = []
    for name, _ in files:
        text, digest = read_text(root / name)
        stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
        lines += [(name, number, line) for number, line in stripped if line]
        digests.append(digest)
    return TextLines(lines, joint_digest(digests))


def open_lines(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file."""
    return Splits(gather_lines(path.parent, [(path.name, 0)], path.name, wanted, log))


TEXT_LINES = Source(
    about="a text file with {items}, one per line, or a folder of them",
    yields=Line,
    claims=lambda path, start: not path.is_dir() and (path.suffix.lower() in SUFFIXES or is_text(start)),
    open=open_lines,
    plural="text files",
    suffixes=lambda _: SUFFIXES,
    gather=gather_lines,
)
