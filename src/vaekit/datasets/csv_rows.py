"""Tables in CSV files: UTF-8, a header with the names of the columns, commas, semicolons or tabs between values."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import RecordFormat, Row, Splits
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_files import is_text, joint_digest, read_text
from vaekit.errors import BadItem, NoTrainingData, printable

DELIMITERS = (",", ";", "\t")
SUFFIXES = frozenset({".csv", ".tsv"})
EXPECTED = "Expected CSV: a header with the names of the columns, then one row a line."
MOST_COLUMNS = 2**14


@dataclass(frozen=True, eq=False)
class CsvRows:
    """The rows of one or more tables with the same columns, in memory."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, int, Sequence[str]]]
    """(file name, line, values)."""
    digest: str
    kind = "csv"

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, item: int) -> str:
        file, line, _ = self.rows[item]
        return f"{file}:{line}"

    def read(self, item: int) -> Row:
        values, key = self.rows[item][2], self.key(item)
        if len(values) != len(self.columns):
            raise BadItem(
                f"{printable(key)} has {len(values)} values.", f"The header has {len(self.columns)} columns.", ""
            )
        if any("\0" in value for value in values):
            raise BadItem(f"{printable(key)} contains a NUL character.", "", "Remove it, or save the table again.")
        return Row(key, dict(zip(self.columns, values, strict=True)))


def read_csv(path: Path, title: str) -> tuple[tuple[str, ...], list[tuple[str, int, Sequence[str]]], str]:
    """The columns of a table, its rows, and its digest. Rows of another length than the header are kept as they are.

    Args:
        path: the file.
        title: how it is called in keys.

    Raises:
        NoTrainingData: it is no CSV, or has no header.
    """
    text, digest = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    rows: list[tuple[str, int, Sequence[str]]] = []
    header: tuple[str, ...] | None = None
    line = 1
    try:
        for values in reader:
            if any(values) and header is None:
                header = checked_header(values, path)
            elif any(values):
                rows.append((title, line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        raise NoTrainingData(
            f"{path} cannot be read from line {line:,} on: {printable(str(error))}.", EXPECTED, "Save the table again."
        ) from error
    if header is None:
        raise NoTrainingData(f"{path} is empty.", EXPECTED, "Name another file.")
    return header, rows, digest


def delimiter_of(text: str) -> str:
    """The delimiter that divides the header into the most columns."""
    header = text.lstrip("\r\n").partition("\n")[0]
    counts = {each: len(next(csv.reader([header], delimiter=each), [])) for each in DELIMITERS} if header else {}
    return max(counts, key=lambda each: counts[each], default=",")


def checked_header(values: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        NoTrainingData: two have the same name, one has none, or all are numbers: the file has no header.
    """
    names = tuple(value.strip() for value in values)
    if all(is_number(name) for name in names):
        raise NoTrainingData(
            f"The first line of {path} holds numbers only.", EXPECTED, "Put the names of the columns in the first line."
        )
    if len(names) > MOST_COLUMNS:
        raise NoTrainingData(f"{path} has {len(names):,} columns.", f"Expected at most {MOST_COLUMNS:,}.", "")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        told = f"two columns named {printable(repr(repeated))}" if repeated else "columns without a name"
        raise NoTrainingData(f"{path} has {told}.", EXPECTED, "Give every column a name of its own.")
    if "" in names:
        raise NoTrainingData(f"{path} has a column without a name.", EXPECTED, "Give every column a name of its own.")
    return names


def is_number(text: str) -> bool:
    """Whether a value is written as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def gather_csv(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> CsvRows:
    """The rows of several tables.

    Raises:
        NoTrainingData: one cannot be read, or they have different columns.
    """
    del title, wanted, log
    rows: list[tuple[str, int, Sequence[str]]] = []
    digests: list[str] = []
    columns: tuple[str, ...] | None = None
    for name, _ in files:
        header, more, digest = read_csv(root / name, name)
        if columns is not None and header != columns:
            raise NoTrainingData(
                f"{root / name} has other columns than {root / files[0][0]}.", "", "Name one of them, not the folder."
            )
        columns = header
        rows += more
        digests.append(digest)
    return CsvRows(columns or (), rows, joint_digest(digests))


def open_csv(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """The rows of one table."""
    return Splits(gather_csv(path.parent, [(path.name, 0)], path.name, wanted, log))


CSV = Source(
    about="a CSV file, or a folder of them",
    yields=Row,
    claims=lambda path, start: not path.is_dir() and (path.suffix.lower() in SUFFIXES or is_text(start)),
    open=open_csv,
    plural="tables",
    suffixes=lambda _: SUFFIXES,
    gather=gather_csv,
)
