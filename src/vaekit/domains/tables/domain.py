"""Tables as a domain: rows with columns of several kinds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.datasets.choose import split_held_out
from vaekit.datasets.dataset import Record, RecordFormat, Row
from vaekit.datasets.open import ROW_SUFFIXES
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.attribution import Attribution, Explanation
from vaekit.domains.domain import ItemStream, Schema
from vaekit.domains.imputation import Imputer
from vaekit.domains.in_memory import InMemoryDomain
from vaekit.domains.item_functions import NO_CAPTIONS, Captions, ItemValues
from vaekit.domains.record_tensors import tensor_of
from vaekit.domains.sample_quality import CompareSamples
from vaekit.domains.tables.column_errors import column_errors
from vaekit.domains.tables.columns import NORMAL, STUDENT
from vaekit.domains.tables.csv_files import write_csv
from vaekit.domains.tables.explain import explain_row
from vaekit.domains.tables.impute import impute, write_values
from vaekit.domains.tables.lossless import LosslessRows, coded_columns
from vaekit.domains.tables.measures import row_errors
from vaekit.domains.tables.sample_quality import compare_items, most_rows
from vaekit.domains.tables.schema import MAX_ROWS_TO_FIT, TableSchema, fit, schema_from
from vaekit.domains.tables.stream import has_splits, row_stream
from vaekit.errors import NoTrainingData
from vaekit.evaluation.measures import ItemMeasure, PooledMeasure
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

    def batches(
        self,
        path: Path,
        schema: Schema,
        size: int,
        log: SkipLog,
        label: str | None = None,
        train: bool = False,
        keep: Sequence[str] = (),
    ) -> ItemStream:
        """Rows of a single file are streamed."""
        assert isinstance(schema, TableSchema)
        stream = row_stream(path, schema, size, log, label, keep) if path.is_file() and not has_splits(path) else None
        return stream or super().batches(path, schema, size, log, label, train, keep)

    def sample_comparison(self, path: Path, schema: Schema) -> CompareSamples:
        """Rows are divided into training rows and held-out ones as `train` does by default."""
        assert isinstance(schema, TableSchema)
        log, splits = SkipLog(), self.open(path, SkipLog())
        kept, apart = split_held_out(splits, None, self.items)
        most = most_rows(schema.width)
        train = tensor_of(splits.train, np.random.default_rng(0).permutation(kept)[:most], schema, log)
        if not len(train):
            raise NoTrainingData(f"{path} has no row that can be read.", next(iter(log.reasons.values()), ""), "")
        held_out = tensor_of(splits.train if splits.test is None else splits.test, apart[:most], schema, log)
        return partial(compare_items, schema, train, held_out)

    def text(self, item: Mapping[str, str]) -> str:
        return ", ".join(f"{name}: {value}" for name, value in item.items())

    def original(self, record: Record, schema: Schema) -> Mapping[str, str]:
        del schema
        assert isinstance(record, Row)
        return record.values

    def reconstruction_measures(self, schema: Schema) -> ItemMeasure:
        assert isinstance(schema, TableSchema)
        return row_errors(schema)

    def part_measures(self, schema: Schema) -> PooledMeasure | None:
        assert isinstance(schema, TableSchema)
        return column_errors(schema)

    def lossless(self, schema: Schema) -> LosslessRows:
        assert isinstance(schema, TableSchema)
        return LosslessRows(schema, coded_columns(schema))

    def write(
        self, items: Sequence[Mapping[str, str]], path: Path, schema: Schema, captions: Captions = NO_CAPTIONS
    ) -> None:
        """CSV with a header, in the units of the data; with all columns that the items have, which are those of the
        schema unless they come from a file."""
        assert isinstance(schema, TableSchema)
        names = list(items[0]) if items else [column.name for column in schema.columns]
        write_csv(path, [names, *([item[name] for name in names] for item in items)])

    def write_pairs(
        self,
        originals: Sequence[Mapping[str, str]],
        results: Sequence[Mapping[str, str]],
        path: Path,
        schema: Schema,
        measured: tuple[ItemValues, ItemValues] | None = None,
    ) -> None:
        """CSV with two columns for each column of the data."""
        assert isinstance(schema, TableSchema)
        names = [column.name for column in schema.columns]
        header = [title for name in names for title in (name, f"{name} (result)")]
        rows = (
            [value for name in names for value in (original[name], result[name])]
            for original, result in zip(originals, results, strict=True)
        )
        write_csv(path, [header, *rows])


ROWS = RecordFormat("rows", (Row,), ROW_SUFFIXES)
TABLES = Tables("tables", "row", "rows", ROWS, ".csv", TableSettings, samples_vary=True)
