"""Text files with one item per line, gzipped or not; empty lines are ignored."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Line, RecordFormat, Splits
from vaekit.datasets.label_columns import name_columns
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_blocks import BYTE_ORDER_MARKS, GZIP, TextBlocks
from vaekit.datasets.text_files import is_text, joint_digest
from vaekit.errors import BadItem, printable
from vaekit.reading import TABLE

SUFFIXES = frozenset({".txt", ".text", ".gz"})
OTHERS = re.compile(r"\.(csv|tsv|tar|json|jsonl|npy|npz|idx|nii)\.gz$|-ubyte\.gz$", re.IGNORECASE)
"""Gzipped files that are not lines of text."""
LONGEST_LINE = 2**27
"""The maximum number of characters of a line, of which domains take fewer: a long line is one item that cannot be used,
not the end of the file."""
EXPECTED = "Expected a text file with one item per line."


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
        line = self.unchecked(item)
        if "\0" in line.text:
            raise BadItem(f"{printable(line.name)} contains a NUL character.", "", "Remove it.")
        return line

    def unchecked(self, item: int) -> Line:
        return Line(self.key(item), self.lines[item][2])

    def label_names(self) -> Sequence[str]:
        return list(self._columns())

    def labels(self, name: str) -> Sequence[str | None]:
        return self._columns()[name]

    def _columns(self) -> dict[str, list[str | None]]:
        return name_columns([file for file, _, _ in self.lines], contents=True)


def gather_lines(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> TextLines:
    """Open several files; gzipped tables and archives are left out.

    Raises:
        NoTrainingData: a file is not text, cannot be read, or is damaged.
    """
    del title, wanted
    lines: list[tuple[str, int, str]] = []
    digests: list[str] = []
    for name, _ in files:
        if OTHERS.search(name):
            log.note(name, f"{printable(name)} is not a text file.")
            continue
        with TextBlocks(root / name, log.say, EXPECTED, hashed=True, limit=TABLE, longest=LONGEST_LINE) as blocks:
            lines += [(name, number, line) for number, line in numbered_lines(blocks.read()) if line]
            digests.append(blocks.digest)
    return TextLines(lines, joint_digest(digests) if digests else "")


def numbered_lines(blocks: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The number of each line, from 1, and its text without leading and trailing whitespace.

    Lines end with LF or CR LF, and with CR alone only where a file has no LF: elsewhere it is a stray character.
    """
    number, rest = 0, ""
    for block in blocks:
        *lines, rest = (rest + block).split("\n")
        for line in lines:
            number += 1
            yield number, line.strip()
    for last in [rest] if number else rest.split("\r"):
        number += 1
        yield number, last.strip()


def open_lines(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one file."""
    return Splits(gather_lines(path.parent, [(path.name, 0)], path.name, wanted, log))


def is_lines(path: Path, start: bytes) -> bool:
    """Whether a file with this beginning may be text, gzipped or not."""
    if path.is_dir() or OTHERS.search(path.name):
        return False
    return path.suffix.lower() in SUFFIXES or is_text(start) or start.startswith((GZIP, *BYTE_ORDER_MARKS))


TEXT_LINES = Source(
    about="a text file with {items}, one per line, or a folder of them",
    yields=Line,
    claims=is_lines,
    open=open_lines,
    plural="text files",
    suffixes=lambda _: SUFFIXES,
    gather=gather_lines,
)
