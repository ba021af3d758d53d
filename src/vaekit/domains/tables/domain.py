"""Tables as a domain: rows with columns of several kinds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vaekit.datasets.dataset import Record, RecordFormat, Row
from vaekit.datasets.open import ROW_SUFFIXES
from vaekit.domains.attribution import Attribution, Explanation
from vaekit.domains.domain import Schema
from vaekit.domains.imputation import Imputer
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.tables.columns import NORMAL, STUDENT
from vaekit.domains.tables.csv_files import write_csv
from vaekit.domains.tables.explain import explain_row
from vaekit.domains.tables.impute import impute, write_values
from vaekit.domains.tables.measures import row_errors
from vaekit.domains.tables.schema import MAX_ROWS_TO_FIT, TableSchema, fit, schema_from
from vaekit.evaluation.measures import ItemMeasure
from vaekit.vae import VAE


@dataclass(frozen=True)
class TableSettings:
    """The table [data] of a recipe for tables."""

    held_out: float | None = None
    """Rows that are never trained on: how many, or below 1 which share. None: one in twenty, at most 256."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column to kind, such as `amount = "positive"`, for columns that are not to be inferred; see `fit.OVERRIDES`."""
    real: str = STUDENT
    """The likelihood of real numbers: student or normal."""

    def __post_init__(self) -> None:
        if self.real not in (STUDENT, NORMAL):
            raise ValueError(f"real is {self.real!r} instead of {STUDENT} or {NORMAL}")
        if not all(isinstance(kind, str) for kind in self.columns.values()):
            raise ValueError('columns is a table of kinds, such as { amount = "positive" }')


class Tables(InMemoryDomain):
    """Rows of CSV files."""

    def fit(self, settings: TableSettings, records: Iterator[Record]) -> TableSchema:
        rows = [record for record in islice(records, MAX_ROWS_TO_FIT) if isinstance(record, Row)]
        return fit(rows, settings.columns, settings.real)

    def read_schema(self, plain: Mapping[str, Any]) -> TableSchema:
        return schema_from(plain)

    def imputer(self, vae: VAE, schema: Schema) -> Imputer:
        assert isinstance(schema, TableSchema)
        return Imputer(partial(impute, schema, vae), write_values)

    def explain(self, found: Attribution, schema: Schema, folder: Path | None) -> Explanation:
        """Columns with their expected values."""
        del folder
        assert isinstance(schema, TableSchema)
        return explain_row(found, schema)

    def original(self, record: Record) -> Mapping[str, str]:
        assert isinstance(record, Row)
        return record.values

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        assert isinstance(schema, TableSchema)
        return row_errors(schema)

    def write(self, items: Sequence[Mapping[str, str]], path: Path, schema: Schema) -> None:
        """CSV with a header, in the units of the data."""
        assert isinstance(schema, TableSchema)
        names = [column.name for column in schema.columns]
        write_csv(path, [names, *([item[name] for name in names] for item in items)])

    def write_pairs(
        self,
        originals: Sequence[Mapping[str, str]],
        results: Sequence[Mapping[str, str]],
        path: Path,
        schema: Schema,
    ) -> None:
        """CSV with two columns for each column of the data."""
        assert isinstance(schema, TableSchema)
        names = [column.name for column in schema.columns]
        header = [title for name in names for title in (name, f"{name} (reconstruction)")]
        rows = (
            [value for name in names for value in (original[name], result[name])]
            for original, result in zip(originals, results, strict=True)
        )
        write_csv(path, [header, *rows])


TABLES = Tables("tables", "row", "rows", RecordFormat("rows", (Row,), ROW_SUFFIXES), ".csv", TableSettings)
