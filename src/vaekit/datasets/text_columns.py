"""Columns of text in tables: CSV, Parquet, Arrow and Feather files, and data sets that `datasets` saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

from vaekit.datasets.arrow_rows import ARROW_ROWS
from vaekit.datasets.csv_rows import CSV
from vaekit.datasets.dataset import Dataset, Labelled, Record, RecordFormat, Row, Splits, TextRow
from vaekit.datasets.listing import Listed
from vaekit.datasets.row_chunks import Chunked
from vaekit.datasets.saved import SAVED_ROWS
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Gather, Source
from vaekit.errors import BadItem

ROWS_TO_LOOK_AT = 1000
"""Rows that tell columns of text from those of numbers."""
ZIPPED = (".csv.gz", ".tsv.gz")
"""The endings of tables that are not suffixes."""


@runtime_checkable
class Rows(Dataset, Labelled, Chunked, Protocol):
    """The rows of tables with equal columns."""

    @property
    def columns(self) -> Sequence[str]:
        """Their names."""


@dataclass(frozen=True, eq=False)
class TextRows:
    """Rows with a column of text."""

    rows: Rows
    usual: Sequence[str]
    """Usual names of the column, most likely first."""

    @property
    def kind(self) -> str:
        return self.rows.kind

    @property
    def digest(self) -> str:
        return self.rows.digest

    @cached_property
    def column(self) -> str | None:
        """The column of text: one with a usual name, or the only one with text; None if that is ambiguous."""
        lower = {name.lower(): name for name in reversed(self.rows.columns)}
        named = next((lower[name] for name in self.usual if name in lower), None)
        if named is not None:
            return named
        columns = self.rows.chunk(0, min(len(self.rows), ROWS_TO_LOOK_AT)).columns
        texts = [name for name, column in columns.items() if column.dtype == object]
        return texts[0] if len(texts) == 1 else None

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, item: int) -> str:
        return self.rows.key(item)

    def read(self, item: int) -> TextRow:
        row: Record = self.rows.read(item)
        assert isinstance(row, Row)
        return TextRow(row.name, row.values, self.column)

    def unchecked(self, item: int) -> TextRow:
        try:
            return self.read(item)
        except BadItem:
            return TextRow(self.key(item), {}, None)

    def label_names(self) -> Sequence[str]:
        return [name for name in self.rows.label_names() if name != self.column]

    def labels(self, name: str) -> Sequence[str | None]:
        return self.rows.labels(name)


def with_text(rows: Dataset, wanted: RecordFormat) -> TextRows:
    """Rows as rows with a column of text."""
    assert isinstance(rows, Rows)
    return TextRows(rows, wanted.columns)


def text_source(rows: Source, about: str = "", suffixes: frozenset[str] | None = None) -> Source:
    """The source of tables with a column of text, for a source of rows.

    Args:
        rows: the source.
        about: see `Source`.
        suffixes: claim only files with these, since any text may be CSV; None for what the source claims.
    """

    def open_text(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
        splits = rows.open(path, wanted, log)
        return Splits(with_text(splits.train, wanted), splits.test and with_text(splits.test, wanted))

    def claims(path: Path, start: bytes) -> bool:
        if suffixes is None:
            return rows.claims(path, start)
        return not path.is_dir() and (path.suffix.lower() in suffixes or path.name.lower().endswith(ZIPPED))

    return Source(
        about=about,
        yields=TextRow,
        claims=claims,
        open=open_text,
        plural=rows.plural,
        suffixes=rows.suffixes,
        gather=None if rows.gather is None else gather_text(rows.gather),
    )


def gather_text(gather: Gather) -> Gather:
    """The function that opens several tables with a column of text, for that of rows."""

    def gather_tables(root: Path, files: Sequence[Listed], title: str, wanted: RecordFormat, log: SkipLog) -> TextRows:
        return with_text(gather(root, files, title, wanted, log), wanted)

    return gather_tables


TEXT_TABLES = (
    text_source(SAVED_ROWS),
    text_source(ARROW_ROWS),
    text_source(CSV, "a table (CSV, Parquet, Arrow) with a column of {items}", frozenset({".csv", ".tsv"})),
)
"""Sources of tables with a column of text."""
