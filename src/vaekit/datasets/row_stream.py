"""Read the rows of a table of any size in chunks, in flat memory."""

from pathlib import Path

from vaekit.datasets.array_stream import ArrayStream
from vaekit.datasets.arrow_rows import ArrowStream, is_table
from vaekit.datasets.csv_rows import is_csv
from vaekit.datasets.csv_stream import CsvStream
from vaekit.datasets.row_arrays import is_array
from vaekit.datasets.row_chunks import RowStream
from vaekit.datasets.skip_log import SkipLog
from vaekit.errors import NotFound, NoTrainingData, reason_of, remedy_for
from vaekit.reading import open_file

EXPECTED = "Expected a table in one file: CSV, Parquet, Arrow, npy or npz."
START = 512
"""Bytes that tell the kinds of files."""


def open_row_stream(path: Path, log: SkipLog) -> RowStream:
    """Open a table to be read once, from the first row to the last. Use it in a `with` statement.

    Args:
        path: a file.
        log: for messages.

    Raises:
        NotFound: there is no such file.
        NoTrainingData: it is no table, or cannot be read; also raised while it is read.
        MissingPackage: Parquet and Arrow need pyarrow.
    """
    try:
        with open_file(path) as file:
            start = file.read(START)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path} does not exist.", EXPECTED, "Check the path.") from error
    except OSError as error:
        raise NoTrainingData(f"{path} cannot be opened: {reason_of(error)}.", EXPECTED, remedy_for(error)) from error
    if is_table(path, start):
        return ArrowStream(path)
    if is_array(start):
        return ArrayStream(path, log.say)
    if is_csv(path, start):
        return CsvStream(path, log.say)
    found = "is empty" if not start else "is no table"
    raise NoTrainingData(f"{path} {found}.", EXPECTED, "Check the path.")
