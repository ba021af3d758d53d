"""Tables in CSV files, in memory: with a header, delimited by commas, semicolons, tabs or bars."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaekit.datasets.cell_texts import may_have_comma, with_point
from vaekit.datasets.csv_columns import CsvColumns
from vaekit.datasets.csv_format import EXPECTED, nul_character, wrong_count
from vaekit.datasets.csv_lines import CsvRow, open_pieces, values_of
from vaekit.datasets.dataset import RecordFormat, Row, Splits
from vaekit.datasets.label_columns import label_text, name_columns
from vaekit.datasets.listing import Listed
from vaekit.datasets.row_chunks import RowChunk, joined, line_names
from vaekit.datasets.skip_log import SkipLog, silent
from vaekit.datasets.source import Source
from vaekit.datasets.text_blocks import GZIP, TextBlocks, encoding_of
from vaekit.datasets.text_files import is_text, joint_digest
from vaekit.errors import BadItem, NoTrainingData
from vaekit.reading import TABLE

SUFFIXES = frozenset({".csv", ".tsv"})


@dataclass(frozen=True, eq=False)
class CsvFile:
    """The rows of a table, in memory."""

    name: str
    """In keys of rows."""
    columns: tuple[str, ...]
    delimiter: str
    rows: Sequence[CsvRow]
    lines: NDArray[np.int64]
    """The number of the first line of each row."""
    digest: str

    def values(self, row: int) -> list[str]:
        """The values of a row; perhaps too few or too many."""
        return values_of(self.rows[row], self.delimiter)


@dataclass(frozen=True, eq=False)
class CsvRows:
    """The rows of one or more tables with equal columns, in memory."""

    columns: tuple[str, ...]
    files: Sequence[CsvFile]
    digest: str
    decimals: frozenset[int] = frozenset()
    """The indices of columns with decimal commas. They are read as points."""
    kind = "csv"

    @cached_property
    def starts(self) -> list[int]:
        """The index of the first row of each file, and the number of all rows."""
        return list(accumulate((len(file.rows) for file in self.files), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def key(self, item: int) -> str:
        file, row = self._located(item)
        return f"{file.name}:{file.lines[row]}"

    def read(self, item: int) -> Row:
        file, row = self._located(item)
        values, key = file.values(row), self.key(item)
        if len(values) != len(self.columns):
            raise BadItem(*wrong_count(key, len(values), len(self.columns)))
        if any("\0" in value for value in values):
            raise BadItem(*nul_character(key))
        for place in self.decimals:
            values[place] = with_point(values[place])
        return Row(key, dict(zip(self.columns, values, strict=True)))

    def chunk(self, start: int, stop: int) -> RowChunk:
        chunks: list[RowChunk] = []
        for file, first in zip(self.files, self.starts, strict=False):
            part = slice(max(start - first, 0), max(stop - first, 0))
            if len(file.rows[part]):
                names = line_names(file.name, file.lines[part])
                chunks.append(CsvColumns(self.columns, file.delimiter, self.decimals).chunk(file.rows[part], names))
        return joined(chunks, self.columns)

    def label_names(self) -> Sequence[str]:
        return list(dict.fromkeys([*self.columns, *self._name_columns()]))

    def labels(self, name: str) -> Sequence[str | None]:
        if name not in self.columns:
            return self._name_columns()[name]
        column = self.columns.index(name)
        rows = (file.values(row) for file in self.files for row in range(len(file.rows)))
        return [label_text(values[column]) if column < len(values) else None for values in rows]

    def _name_columns(self) -> dict[str, list[str | None]]:
        return name_columns([file.name for file in self.files for _ in file.rows], contents=True)

    def _located(self, item: int) -> tuple[CsvFile, int]:
        """A row's file, and its index there."""
        file = bisect_right(self.starts, item) - 1
        return self.files[file], item - self.starts[file]


def read_csv(path: Path, name: str, say: Callable[[str], None] = silent) -> CsvFile:
    """Read a table. Rows of any length are kept.

    Args:
        path: the file.
        name: its name in keys of rows.
        say: called with a message if the file is not UTF-8.

    Raises:
        NoTrainingData: the file is not CSV, has no header, or is too large.
    """
    with TextBlocks(path, say, EXPECTED, hashed=True, limit=TABLE) as blocks:
        table = open_pieces(blocks)
        pieces = list(table.pieces)
        digest = blocks.digest
    rows = [row for piece in pieces for row in piece.rows]
    lines = np.concatenate([np.empty(0, np.int64), *(piece.lines for piece in pieces)])
    return CsvFile(name, table.columns, table.delimiter, rows, lines, digest)


def decimal_columns(files: Sequence[CsvFile]) -> frozenset[int]:
    """The columns in which some values have decimal commas, and all others may have them."""
    possible, seen = set(range(len(files[0].columns))), set[int]()
    for file in files:
        if file.delimiter == ",":
            return frozenset()
        for row in range(len(file.rows)):
            values = file.values(row)
            if len(values) == len(file.columns):
                texts = {place: values[place].strip() for place in possible}
                possible = {place for place, text in texts.items() if may_have_comma(text)}
                seen |= {place for place in possible if "," in texts[place]}
            if not possible:
                return frozenset()
    return frozenset(possible & seen)


def has_commas(file: CsvFile) -> bool:
    """Whether some value contains a comma."""
    return file.delimiter != "," and any("," in (row if isinstance(row, str) else "".join(row)) for row in file.rows)


def gather_csv(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> CsvRows:
    """Open several tables with equal columns.

    Raises:
        NoTrainingData: a table cannot be read, or the columns differ.
    """
    del title, wanted
    tables = [read_csv(root / name, name, log.say) for name, _ in files]
    for table in tables:
        if table.columns != tables[0].columns:
            raise NoTrainingData(
                f"{root / table.name} and {root / tables[0].name} have different columns.",
                "",
                "Give one of them instead of the folder.",
            )
    decimals = decimal_columns(tables) if any(map(has_commas, tables)) else frozenset()
    return CsvRows(tables[0].columns, tables, joint_digest([table.digest for table in tables]), decimals)


def open_csv(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one table."""
    return Splits(gather_csv(path.parent, [(path.name, 0)], path.name, wanted, log))


def is_csv(path: Path, start: bytes) -> bool:
    """Whether a file with this beginning may be a table."""
    return (
        path.suffix.lower() in SUFFIXES or is_text(start) or start.startswith(GZIP) or encoding_of(start)[0] != "utf-8"
    )


CSV = Source(
    about="a CSV file, or a folder of them",
    yields=Row,
    claims=lambda path, start: not path.is_dir() and is_csv(path, start),
    open=open_csv,
    plural="tables",
    suffixes=lambda _: SUFFIXES,
    gather=gather_csv,
)
