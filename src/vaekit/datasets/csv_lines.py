"""Split blocks of CSV text into rows with their line numbers."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.csv_format import EXPECTED, LONGEST_FIELD, SEPARATOR_LINE, checked_header, delimiter_of
from vaekit.datasets.text_blocks import LONGEST_LINE, TextBlocks, first_line
from vaekit.errors import NoTrainingData, printable

CsvRow = str | list[str]
"""A row without quotes as its line, which is fast; one with quotes as its values."""
QUOTE = '"'


@dataclass(frozen=True)
class CsvPiece:
    """Consecutive rows."""

    rows: Sequence[CsvRow]
    lines: NDArray[np.int64]
    """The number of the first line of each row."""


@dataclass(frozen=True)
class OpenCsv:
    """A CSV file whose header has been read."""

    columns: tuple[str, ...]
    delimiter: str
    pieces: Iterator[CsvPiece]


def open_pieces(blocks: TextBlocks) -> OpenCsv:
    """Read the header of a CSV file, and the rest when it is needed.

    Raises:
        NoTrainingData: the file is not CSV, or has no header.
    """
    texts = blocks.read()
    start = next(texts, "")
    separator = SEPARATOR_LINE.fullmatch(first_line(start))
    delimiter = separator[1] if separator else delimiter_of(start)
    pieces = split_rows(without_last_blanks(chain([start], texts), delimiter), delimiter, blocks.path)
    for piece in pieces:
        for place, row in enumerate(piece.rows):
            values = values_of(row, delimiter)
            if any(values) and not (separator and SEPARATOR_LINE.fullmatch(delimiter.join(values))):
                rest = CsvPiece(piece.rows[place + 1 :], piece.lines[place + 1 :])
                return OpenCsv(checked_header(values, blocks.path), delimiter, chain([rest], pieces))
    raise NoTrainingData(f"{blocks.path} is empty.", EXPECTED, "Give another file.")


def values_of(row: CsvRow, delimiter: str) -> list[str]:
    """The values of a row."""
    return row.split(delimiter) if isinstance(row, str) else row


def without_last_blanks(blocks: Iterator[str], delimiter: str) -> Iterator[str]:
    """Blocks without the last lines of a file that have only delimiters, as spreadsheets write them."""
    held: list[str] = []
    for block in blocks:
        content = len(block.rstrip(f"{delimiter}\r\n"))
        if content == 0 and sum(map(len, held)) < LONGEST_LINE:
            held.append(block)
            continue
        ends = [end + 1 for each in "\r\n" if (end := block.find(each, content)) >= 0]
        end = min(ends, default=len(block))
        if block.startswith("\n", end) and block[end - 1] == "\r":
            end += 1
        yield "".join([*held, block[:end]])
        held = [block[end:]]


def split_rows(blocks: Iterator[str], delimiter: str, path: Path) -> Iterator[CsvPiece]:
    """The rows of a file; lines without characters are none.

    Raises:
        NoTrainingData: quotes have no end or text after them, or a value is too long.
    """
    line = 1
    for block in blocks:
        if QUOTE in block:
            feed = Lines(block, blocks)
            yield quoted_rows(feed, delimiter, line, path)
            line += feed.count
        else:
            rows = block.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
            lines = np.arange(line, line + len(rows))
            line += len(rows)
            if len(max(rows, key=len)) > LONGEST_FIELD:
                refuse_long_fields(rows, lines, delimiter, path)
            if "" in rows:
                lines = lines[[bool(row) for row in rows]]
                rows = [row for row in rows if row]
            yield CsvPiece(rows, lines)


class Lines:
    """The lines of a block; of the following ones, too, while a quoted value continues."""

    def __init__(self, block: str, blocks: Iterator[str]) -> None:
        self._blocks, self._lines, self._place = blocks, physical_lines(block), 0
        self.count = 0
        """The number of lines that were read."""

    @property
    def at_end(self) -> bool:
        """Whether all lines of the current block were read."""
        return self._place == len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.at_end:
            self._lines, self._place = physical_lines(next(self._blocks)), 0
        self._place += 1
        self.count += 1
        return self._lines[self._place - 1]


def physical_lines(block: str) -> list[str]:
    """Lines with their ends."""
    return list(io.StringIO(block, newline=""))


def quoted_rows(feed: Lines, delimiter: str, line: int, path: Path) -> CsvPiece:
    """The rows of a block with quotes, until a row ends where a block ends."""
    rows: list[CsvRow] = []
    lines: list[int] = []
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    start = line
    try:
        while not feed.at_end:
            start = line + feed.count
            values = next(reader)
            if values:
                rows.append(values)
                lines.append(start)
    except csv.Error as error:
        raise unreadable(path, start, str(error)) from error
    return CsvPiece(rows, np.array(lines, np.int64))


def refuse_long_fields(rows: Sequence[str], lines: NDArray[np.int64], delimiter: str, path: Path) -> None:
    """Check the lengths of values, as Python's csv does.

    Raises:
        NoTrainingData: one is too long.
    """
    for row, line in zip(rows, lines.tolist(), strict=True):
        if len(row) > LONGEST_FIELD and max(map(len, row.split(delimiter))) > LONGEST_FIELD:
            raise unreadable(path, line, f"a value has more than {LONGEST_FIELD:,} characters")


def unreadable(path: Path, line: int, reason: str) -> NoTrainingData:
    """The error for a file that is no CSV at a line."""
    return NoTrainingData(
        f"{path} cannot be read at line {line:,}: {printable(reason)}.", EXPECTED, "Save the table again."
    )
