"""Rows of a table of any size as tensors, batch by batch."""

from collections.abc import Iterator
from pathlib import Path

from vaekit.datasets.open import refuse_run_folder
from vaekit.datasets.row_chunks import RowStream
from vaekit.datasets.row_stream import open_row_stream
from vaekit.datasets.skip_log import SkipLog
from vaekit.domains.domain import ItemBatch, ItemStream
from vaekit.domains.tables.cells import texts
from vaekit.domains.tables.schema import TableSchema

ARRAYS = frozenset({".npz", ".npy"})
"""Suffixes of files that are read whole, as they may have a test split and labels beside the rows."""


def has_splits(path: Path) -> bool:
    """Whether a file may hold more than one table."""
    return path.suffix.lower() in ARRAYS


def row_batches(path: Path, schema: TableSchema, size: int, log: SkipLog, label: str | None) -> ItemStream | None:
    """The rows of a file in order, in memory for one batch; None if the label is no column of the table.

    Raises:
        NotFound, NoTrainingData: see `open_row_stream`; also while it is read.
        BadItem: a column is missing.
    """
    refuse_run_folder(path, log)
    stream = open_row_stream(path, log)
    if label is not None and label not in stream.columns:
        stream.close()
        return None
    return ItemStream(batches_in(stream, schema, size, label), fraction=lambda: stream.fraction)


def batches_in(stream: RowStream, schema: TableSchema, size: int, label: str | None) -> Iterator[ItemBatch]:
    """Consecutive rows, `size` at a time."""
    with stream:
        for chunk in stream.chunks(size):
            x, problems = schema.values(chunk)
            labels = None if label is None else [text or None for text in texts(chunk.columns[label])]
            yield ItemBatch(chunk.names, x, problems, labels)
