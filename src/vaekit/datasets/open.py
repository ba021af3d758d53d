"""Open the data set at a path, with the first source that claims it."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from vaekit.datasets.arrays import IDX_FILE, IDX_FOLDER, NPY, NPZ
from vaekit.datasets.arrow import TABLES
from vaekit.datasets.arrow_rows import ARROW_ROWS
from vaekit.datasets.csv_rows import CSV
from vaekit.datasets.dataset import Line, RecordFormat, Row, Splits, TextRow
from vaekit.datasets.mixed_folders import open_folder
from vaekit.datasets.named_lines import NAMED_LINES
from vaekit.datasets.row_arrays import NPY_ROWS, NPZ_ROWS
from vaekit.datasets.saved import SAVED, SAVED_ROWS
from vaekit.datasets.sd_files import SD_FILES
from vaekit.datasets.single_files import FILES
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.tars import PACKED_TAR, TARS, expanded, open_tars
from vaekit.datasets.text_columns import TEXT_TABLES
from vaekit.datasets.text_lines import TEXT_LINES
from vaekit.errors import NotFound, NoTrainingData, reason_of, remedy_for
from vaekit.reading import open_file

ROW_SOURCES = (SAVED_ROWS, NPZ_ROWS, NPY_ROWS, ARROW_ROWS, CSV)
"""Sources of rows of tables."""
ROW_SUFFIXES = frozenset().union(*(source.suffixes(RecordFormat("rows", (Row,))) for source in ROW_SOURCES))
"""Suffixes of their files."""
TEXT_SUFFIXES = frozenset().union(
    *(each.suffixes(RecordFormat("", (Line, TextRow))) for each in (*TEXT_TABLES, TEXT_LINES))
)
"""Suffixes of files with text."""
SOURCES = (
    *(SAVED, IDX_FOLDER, NPZ, NPY, TABLES, PACKED_TAR, IDX_FILE, TARS),
    *(NAMED_LINES, SD_FILES, *ROW_SOURCES, *TEXT_TABLES, TEXT_LINES, FILES),
)
"""All sources, in order of precedence."""
Opener = Callable[[Path, RecordFormat, SkipLog], Splits]
START = 512
"""The number of bytes of a file that sources inspect."""


def open_dataset(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Open the data set at a path.

    Args:
        path: a folder, a file, or a pattern of tar files such as data-{000..012}.tar.
        wanted: the records that the domain reads.
        log: for skipped files, and messages about slow steps.

    Raises:
        NotFound: the path does not exist.
        NoTrainingData: there are no items, they cannot be read, or the path is the folder of the run itself.
        MissingPackage: a required package is not installed.
    """
    refuse_run_folder(path, log)
    sources = [source for source in SOURCES if source.yields in wanted.records]
    expected = f"Expected {expected_kinds(wanted, sources)}."
    try:
        splits = opener(path, wanted, sources, expected)(path, wanted, log)
    except OSError as error:
        raise NoTrainingData(f"{path} cannot be opened: {reason_of(error)}.", "", remedy_for(error)) from error
    if not len(splits.train):
        raise NoTrainingData(f"{path} contains no {wanted.items}.", expected, "Check the path.")
    return splits


def opener(path: Path, wanted: RecordFormat, sources: list[Source], expected: str) -> Opener:
    """The function that opens a path.

    Raises:
        NotFound: the path does not exist.
        NoTrainingData: no source claims it.
    """
    if path.is_dir():
        claimed = next((source.open for source in sources if source.claims(path, b"")), None)
        return claimed or partial(open_folder, sources=sources)
    if path.is_file():
        with open_file(path) as file:
            start = file.read(START)
        claimed = next((source.open for source in sources if source.claims(path, start)), None)
        if claimed is None:
            raise NoTrainingData(f"{path} contains no {wanted.items}.", expected, "Check the path.")
        return claimed
    if "{" in path.name and TARS in sources:
        return partial(open_tars, paths=paths_of_pattern(path))
    with suppress(FileNotFoundError, NotADirectoryError):
        open_file(path).close()  # raises the reason why it cannot be opened
    raise NotFound(f"{path} does not exist.", expected, "Check the path.")


def paths_of_pattern(path: Path) -> list[Path]:
    """The tar files of a pattern.

    Raises:
        NotFound: the pattern is invalid, or a file does not exist.
    """
    try:
        paths = expanded(os.fspath(path))
    except ValueError as error:
        raise NotFound(f"{path} is not a valid pattern of tar files: {error}.", "", "") from error
    missing = [each for each in paths if not each.is_file()]
    if not paths or missing:
        raise NotFound(f"{missing[0] if missing else path} does not exist.", "", "Check the range in the pattern.")
    return paths


def expected_kinds(wanted: RecordFormat, sources: list[Source]) -> str:
    """The supported kinds of data, for messages."""
    kinds = [source.about.format(items=wanted.items) for source in sources if source.about]
    return ", ".join(kinds[:-1]) + (" or " if kinds[1:] else "") + kinds[-1]


def refuse_run_folder(path: Path, log: SkipLog) -> None:
    """Reject the folder of the run itself.

    Raises:
        NoTrainingData: the log is in the folder to open.
    """
    if log.path is not None and os.path.realpath(log.path.parent) == os.path.realpath(path):
        raise NoTrainingData(
            f"{path} is both the data and the folder of the run.",
            "The run folder cannot be the data folder: files of the run would be read as data.",
            "Give the run another folder; a subfolder of the data is fine.",
        )
