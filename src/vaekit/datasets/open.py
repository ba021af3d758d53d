"""A path -> a data set: the first source that claims it opens it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vaekit.datasets.arrays import IDX_FILE, IDX_FOLDER, NPY, NPZ
from vaekit.datasets.arrow import TABLES
from vaekit.datasets.csv_rows import CSV
from vaekit.datasets.dataset import RecordFormat, Splits
from vaekit.datasets.mixed_folders import open_folder
from vaekit.datasets.saved import SAVED
from vaekit.datasets.single_files import FILES
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.datasets.tars import PACKED_TAR, TARS, expanded, open_tars
from vaekit.datasets.text_lines import TEXT_LINES
from vaekit.errors import NotFound, NoTrainingData

SOURCES = (SAVED, IDX_FOLDER, NPZ, NPY, TABLES, PACKED_TAR, IDX_FILE, TARS, CSV, TEXT_LINES, FILES)
"""In the order in which they are asked."""
Opener = Callable[[Path, RecordFormat, SkipLog], Splits]
START = 512
"""Bytes of a file that sources are shown."""


def open_dataset(path: Path, wanted: RecordFormat, log: SkipLog) -> Splits:
    """Find out what is at a path, and list the records there.

    Args:
        path: a folder, a file, or a pattern of tars such as data-{000..012}.tar.
        wanted: what the domain reads.
        log: for what cannot be listed, and what takes time.

    Raises:
        NotFound: nothing is there.
        NoTrainingData: there are no items in it, it cannot be read, or it is the folder of the run that logs there.
        MissingPackage: it takes a package that is not installed.
    """
    refuse_run_folder(path, log)
    sources = [source for source in SOURCES if source.yields in wanted.records]
    expected = f"Expected {expected_kinds(wanted, sources)}."
    try:
        splits = opener(path, wanted, sources, expected)(path, wanted, log)
    except OSError as error:
        raise NoTrainingData(
            f"{path} cannot be opened: {error.strerror}.", "", "Check the name, and who may read it."
        ) from error
    if not len(splits.train):
        raise NoTrainingData(f"{path} holds no {wanted.items}.", expected, "Check the name.")
    return splits


def opener(path: Path, wanted: RecordFormat, sources: list[Source], expected: str) -> Opener:
    """The function that opens a path.

    Raises:
        NotFound: nothing is there.
        NoTrainingData: no source claims it.
    """
    if path.is_dir():
        claimed = next((source.open for source in sources if source.claims(path, b"")), None)
        return claimed or partial(open_folder, sources=sources)
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(START)
        claimed = next((source.open for source in sources if source.claims(path, start)), None)
        if claimed is None:
            raise NoTrainingData(f"{path} holds no {wanted.items}.", expected, "Check the name.")
        return claimed
    if "{" in path.name and TARS in sources:
        return partial(open_tars, paths=paths_of_pattern(path))
    raise NotFound(f"There is nothing at {path}.", expected, "Check the name.")


def paths_of_pattern(path: Path) -> list[Path]:
    """The tars that a pattern names.

    Raises:
        NotFound: it is no pattern, or one of them is not there.
    """
    try:
        paths = expanded(os.fspath(path))
    except ValueError as error:
        raise NotFound(f"{path} is no pattern of tars: {error}.", "", "") from error
    missing = [each for each in paths if not each.is_file()]
    if not paths or missing:
        raise NotFound(f"There is no {missing[0] if missing else path}.", "", "Check the range in the pattern.")
    return paths


def expected_kinds(wanted: RecordFormat, sources: list[Source]) -> str:
    """What may be at a path, in words."""
    kinds = [source.about.format(items=wanted.items) for source in sources if source.about]
    return ", ".join(kinds[:-1]) + (" or " if kinds[1:] else "") + kinds[-1]


def refuse_run_folder(path: Path, log: SkipLog) -> None:
    """Refuse the folder of the run itself.

    Raises:
        NoTrainingData: the log is written to the folder that is to be opened.
    """
    if log.path is not None and os.path.realpath(log.path.parent) == os.path.realpath(path):
        raise NoTrainingData(
            f"{path} is to be both the data and the folder of the run.",
            "A run writes images of its own, which would be taken for data when it goes on.",
            "Give the run another folder; one inside the data is fine.",
        )
