"""Rows of a table of any size as tensors, batch by batch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vaekit.datasets.labels import check_columns
from vaekit.datasets.open import refuse_run_folder
from vaekit.datasets.row_chunks import RowStream
from vaekit.datasets.row_stream import open_row_stream
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import ItemBatch, ItemStream
from vaekit.domains.tables.cells import as_written, texts
from vaekit.domains.tables.schema import TableSchema

ARRAYS = frozenset({".npz", ".npy"})
"""Suffixes of files that are read whole, as they may have a test split and labels beside the rows."""


def has_splits(path: Path) -> bool:
    """Whether a file may hold more than one table."""
    return path.suffix.lower() in ARRAYS


class RowBatches:
    """The rows of a file in order, `size` at a time. The file is open only while they are read.

    Args:
        path: the file.
        schema: of its rows.
        size: the maximum number of rows of a batch.
        log: for messages.
        label: the column of labels to read, too.
        keep: other columns to read, too.
    """

    def __init__(
        self, path: Path, schema: TableSchema, size: int, log: SkipLog, label: str | None, keep: Sequence[str]
    ) -> None:
        self.path, self.schema, self.size, self.log, self.label, self.keep = path, schema, size, log, label, keep
        self.stream: RowStream | None = None

    @property
    def fraction(self) -> float:
        """The share of the file that has been read, from 0 to 1."""
        return 0.0 if self.stream is None else self.stream.fraction

    def __iter__(self) -> Iterator[ItemBatch]:
        with open_row_stream(self.path, self.log) as self.stream:
            for chunk in self.stream.chunks(self.size):
                x, problems = self.schema.values(chunk)
                labels = None if self.label is None else [text or None for text in texts(chunk.columns[self.label])]
                kept = {name: as_written(chunk.columns[name]) for name in self.keep}
                yield ItemBatch(chunk.names, x, problems, labels, kept)


def row_stream(
    path: Path, schema: TableSchema, size: int, log: SkipLog, label: str | None, keep: Sequence[str] = ()
) -> ItemStream | None:
    """The rows of a file in order, in memory for one batch; None if the label is no column of the table.

    Raises:
        NotFound, NoTrainingData: see `open_row_stream`; also while it is read. Or a column to keep is missing.
        BadItem: a column is missing; while it is read.
    """
    refuse_run_folder(path, log)
    with open_row_stream(path, SkipLog()) as stream:
        columns = stream.columns
    if label is not None and label not in columns:
        return None
    check_columns(keep, columns, str(path))
    batches = RowBatches(path, schema, size, log, label, keep)
    return ItemStream(iter(batches), fraction=lambda: batches.fraction)
