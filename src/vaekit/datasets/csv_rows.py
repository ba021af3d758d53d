"""Tables in CSV files: UTF-8, with a header, delimited by commas, semicolons or tabs."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import RecordFormat, Row, Splits
from vaekit.datasets.label_columns import label_text, name_columns
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.text_files import is_text, joint_digest, read_text
from vaekit.errors import BadItem, NoTrainingData, counted, printable

DELIMITERS = (",", ";", "\t")
SUFFIXES = frozenset({".csv", ".tsv"})
EXPECTED = "Expected CSV: a header with the names of the columns, then one row per line."
MAX_COLUMNS = 2**14


@dataclass(frozen=True, eq=False)
class CsvRows:
    """The rows of one or more tables with equal columns, in memory."""

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
                f"{printable(key)} has {counted(len(values), 'value')}.",
                f"The header has {counted(len(self.columns), 'column')}.",
                "",
            )
        if any("\0" in value for value in values):
            raise BadItem(f"{printable(key)} contains a NUL character.", "", "Remove it, or save the table again.")
        return Row(key, dict(zip(self.columns, values, strict=True)))

    def label_names(self) -> Sequence[str]:
        return list(dict.fromkeys([*self.columns, *self._name_columns()]))

    def labels(self, name: str) -> Sequence[str | None]:
        if name not in self.columns:
            return self._name_columns()[name]
        column = self.columns.index(name)
        return [label_text(values[column]) if column < len(values) else None for _, _, values in self.rows]

    def _name_columns(self) -> dict[str, list[str | None]]:
        return name_columns([file for file, _, _ in self.rows], contents=True)


def read_csv(path: Path, title: str) -> tuple[tuple[str, ...], list[tuple[str, int, Sequence[str]]], str]:
    """Read a table: columns, rows (title, line number, values) and digest. Rows of any length are kept.

    Args:
        path: the file.
        title: its name in keys of records.

    Raises:
        NoTrainingData: the file is not CSV, or has no header.
    """
    text, digest = read_text(path)
    rows: list[tuple[str, int, Sequence[str]]] = []
    header: tuple[str, ...] | None = None
    line = 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
        for values in reader:
            if any(values) and header is None:
                header = checked_header(values, path)
            elif any(values):
                rows.append((title, line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        raise NoTrainingData(
            f"{path} cannot be read at line {line:,}: {printable(str(error))}.", EXPECTED, "Save the table again."
        ) from error
    if header is None:
        raise NoTrainingData(f"{path} is empty.", EXPECTED, "Give another file.")
    return header, rows, digest


def delimiter_of(text: str) -> str:
    """The delimiter that splits the header into the most columns."""
    header = text.lstrip("\r\n").partition("\n")[0]
    counts = {each: len(next(csv.reader([header], delimiter=each), [])) for each in DELIMITERS} if header else {}
    return max(counts, key=lambda each: counts[each], default=",")


def checked_header(values: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        NoTrainingData: names are missing or not unique, or all are numbers, so that the file has no header.
    """
    names = tuple(value.strip() for value in values)
    if all(is_number(name) for name in names):
        raise NoTrainingData(
            f"The first line of {path} has numbers only.", EXPECTED, "Add a header with the names of the columns."
        )
    if len(names) > MAX_COLUMNS:
        raise NoTrainingData(f"{path} has {len(names):,} columns.", f"Expected at most {MAX_COLUMNS:,}.", "")
    counts = Counter(names)
    repeated = next((name for name in names if counts[name] > 1), None)
    if repeated is not None:
        problem = f"two columns named {printable(repr(repeated))}" if repeated else "columns without a name"
        raise NoTrainingData(f"{path} has {problem}.", EXPECTED, "Give every column a unique name.")
    if "" in names:
        raise NoTrainingData(f"{path} has a column without a name.", EXPECTED, "Give every column a unique name.")
    return names


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def gather_csv(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> CsvRows:
    """Open several tables with equal columns.

    Raises:
        NoTrainingData: a table cannot be read, or the columns differ.
    """
    del title, wanted, log
    rows: list[tuple[str, int, Sequence[str]]] = []
    digests: list[str] = []
    columns: tuple[str, ...] | None = None
    for name, _ in files:
        header, more, digest = read_csv(root / name, name)
        if columns is not None and header != columns:
            raise NoTrainingData(
                f"{root / name} and {root / files[0][0]} have different columns.",
                "",
                "Give one of them instead of the folder.",
            )
        columns = header
        rows += more
        digests.append(digest)
    return CsvRows(columns or (), rows, joint_digest(digests))


def open_csv(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open one table."""
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
