"""Folders written by `save_to_disk` of Hugging Face `datasets`: a data set, or several splits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vaekit.datasets.arrow import dataset_of
from vaekit.datasets.arrow_rows import rows_of_files
from vaekit.datasets.dataset import BytesRecord, Dataset, RecordFormat, Row, Splits
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source
from vaekit.errors import NoTrainingData, printable, reason_of
from vaekit.reading import read_json

STATE, SPLIT_NAMES = "state.json", "dataset_dict.json"
TEST_SPLITS = ("test", "validation", "val")
"""Names of test splits, in order of precedence."""


Open = Callable[[Sequence[Path], str, RecordFormat, Callable[[str], None]], Dataset]
"""Opens Arrow files; see `dataset_of`."""


def open_saved(path: Path, wanted: RecordFormat, log: SkipLog, open_files: Open = dataset_of) -> Splits:
    """Open a saved data set.

    Raises:
        NoTrainingData: files are missing or damaged.
    """
    if (path / STATE).is_file():
        return Splits(open_files(shards(path), path.name, wanted, log.say))
    splits = [each for each in read_object(path / SPLIT_NAMES).get("splits", []) if isinstance(each, str)]
    train = "train" if "train" in splits else splits[0] if splits else ""
    if not (path / train / STATE).is_file():
        raise NoTrainingData(
            f"{path} is a data set without splits.", f"Expected a folder with {STATE} for each split.", "Save it again."
        )
    test = next((each for each in TEST_SPLITS if each in splits and each != train), None)
    return Splits(
        open_files(shards(path / train), f"{path.name}/{train}", wanted, log.say),
        None if test is None else open_files(shards(path / test), f"{path.name}/{test}", wanted, log.say),
    )


def shards(path: Path) -> list[Path]:
    """The files of a split.

    Raises:
        NoTrainingData: it lists no files, or files are missing.
    """
    entries = read_object(path / STATE).get("_data_files")
    files = [each.get("filename") for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    paths = [path / Path(name).name for name in files if isinstance(name, str)]
    missing = [shard.name for shard in paths if not shard.is_file()]
    if not paths or missing:
        reason = f"lacks {printable(missing[0])}" if missing else "lists no files"
        raise NoTrainingData(f"The data set in {path} {reason}.", "", "Save or copy it again.")
    return paths


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if the content is not an object.

    Raises:
        NoTrainingData: the file cannot be read.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise NoTrainingData(f"{path} cannot be read: {reason_of(error)}.", "", "Save the data set again.") from error
    return content if isinstance(content, dict) else {}


SAVED = Source(
    about="a data set that datasets.save_to_disk wrote",
    yields=BytesRecord,
    claims=lambda path, _: path.is_dir() and ((path / SPLIT_NAMES).is_file() or (path / STATE).is_file()),
    open=open_saved,
)
SAVED_ROWS = replace(SAVED, yields=Row, open=partial(open_saved, open_files=rows_of_files))
