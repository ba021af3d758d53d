"""Read the captions of a data set: one text for each item, where it has one.

Sources of captions, in order of precedence: a column where labels are (a table, `metadata.csv` in a folder of files,
`.json` members of tars) with a usual name; of a folder of files, `captions.json` in it or above it, and a text file
beside each item, `cat.txt` of `cat.png`.

`captions.json` holds a list of [file, caption, ...] or of objects with a file and a caption, or an object of captions
by file. Files are paths relative to a folder of the data set.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vaekit.datasets.dataset import ArrayRecord, BytesRecord, Dataset, FileRecord
from vaekit.datasets.label_columns import label_text
from vaekit.datasets.labels import label_names, read_labels
from vaekit.datasets.single_files import Folder
from vaekit.errors import BadItem, NotFound, NoTrainingData, printable, reason_of
from vaekit.reading import TABLE, exists, read_text, real_path

USUAL = ("caption", "captions", "text", "txt", "prompt", "description")
"""Names of columns that hold captions, in order of precedence; in lower case."""
CAPTIONS = "captions.json"
FILES = ("file", "file_name", "filename", "image", "path", "name")
"""Keys of the file in an object of `captions.json`."""
LEVELS = 2
"""The number of folders above a data set in which `captions.json` may be."""
LONGEST = 2**16
"""The maximum number of bytes of a text file with a caption."""


def read_captions(dataset: Dataset, column: str | None = None) -> list[str | None]:
    """The caption of each record, in the order of the records; empty if the data set has none.

    Args:
        dataset: the records, from `open_dataset`.
        column: the name of the column of captions; None for the first source that there is.

    Raises:
        NotFound: there is no such column.
        NoTrainingData: captions cannot be read.
    """
    if column is not None:
        return read_labels(dataset, column)
    if not holds_files(dataset):
        return []
    names = {name.lower(): name for name in reversed(label_names(dataset))}
    usual = next((names[name] for name in USUAL if name in names), None)
    if usual is not None:
        return read_labels(dataset, usual)
    if not isinstance(dataset, Folder):
        return []
    captions = captions_in_files(Path(dataset.root), dataset.names)
    return captions if any(caption is not None for caption in captions) else []


def holds_files(dataset: Dataset) -> bool:
    """Whether items are contents of files or arrays, such as images: texts and rows need no captions."""
    for item in range(len(dataset)):
        try:
            return isinstance(dataset.read(item), FileRecord | BytesRecord | ArrayRecord)
        except (BadItem, NotFound):
            continue
    return False


def captions_in_files(root: Path, names: Sequence[str]) -> list[str | None]:
    """The captions of files: of `captions.json`, or of text files beside them.

    Raises:
        NoTrainingData: `captions.json` in the folder is damaged.
    """
    found = captions_by_list(root, names)
    return [caption or caption_beside(root / name) for caption, name in zip(found, names, strict=True)]


def captions_by_list(root: Path, names: Sequence[str]) -> list[str | None]:
    """The captions of files in the nearest `captions.json` that names one of them: of the folder, or of up to two
    folders above it.

    Raises:
        NoTrainingData: that of the folder is damaged.
    """
    folder, inside = real_path(root), ""
    listed = captions_listed(folder)
    for level in range(LEVELS + 1):
        captions = [caption_listed(f"{inside}{name}", listed, folder) for name in names] if listed else []
        if any(captions) or level == LEVELS:
            return captions or [None] * len(names)
        folder, inside = folder.parent, f"{folder.name}/{inside}"
        listed = {}
        with suppress(NoTrainingData):  # what is outside the data set may be anything
            listed = captions_listed(folder)
    raise AssertionError


def caption_beside(path: Path) -> str | None:
    """The caption in the text file beside an item; None if there is none that can be read."""
    try:
        return label_text(read_text(path.with_suffix(".txt"), LONGEST, "replace"))
    except (OSError, ValueError):
        return None


def caption_listed(name: str, listed: Mapping[str, str], folder: Path) -> str | None:
    """The caption of a file, also if the list omits its outermost folders, unless it means a file without them.

    Args:
        name: path of the file, relative to the folder of the list.
        listed: captions by file.
        folder: of the list.
    """
    shorter, slash = name, "/"
    while slash:
        if shorter in listed and (shorter == name or not exists(folder / shorter)):
            return listed[shorter]
        _, slash, shorter = shorter.partition("/")
    return None


def captions_listed(folder: Path) -> dict[str, str]:
    """The captions in `captions.json` by file; empty if there is none.

    Raises:
        NoTrainingData: it is damaged.
    """
    path = folder / CAPTIONS
    if not exists(path):
        return {}
    try:
        entries = list(entries_of(json.loads(read_text(path, TABLE))))
    except (OSError, ValueError, RecursionError) as error:
        raise NoTrainingData(
            f"{path} cannot be read: {printable(reason_of(error), 200)}.",
            'Expected a list such as [["cat.png", "A cat."]], or an object of captions by file.',
            "Repair it, or rename it if it does not hold captions.",
        ) from error
    return {file: caption for file, value in entries if (caption := label_text(value)) is not None}


def entries_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Files and captions in the content of `captions.json`.

    Raises:
        ValueError: an entry is something else.
    """
    if isinstance(value, dict):
        yield from value.items()
        return
    if not isinstance(value, list):
        raise ValueError("it holds neither a list nor an object")
    for entry in value:
        if isinstance(entry, dict):
            entry = [next((entry[name] for name in names if name in entry), None) for names in (FILES, USUAL)]
        if not isinstance(entry, list) or len(entry) < 2 or not isinstance(entry[0], str):
            raise ValueError(f"it holds an entry {printable(repr(entry), 60)}, without a file and a caption")
        yield entry[0], entry[1]
