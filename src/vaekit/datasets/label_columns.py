"""Columns of labels: values as text, and labels from the names of files."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

FILE, FOLDER = "file", "folder"
"""The columns of labels from the names of files and folders."""


def label_text(value: Any) -> str | None:
    """A label as text; None for a missing one: an empty text, NaN, or a value that is no label, such as a list.

    >>> [label_text(value) for value in (3, 2.5, True, " cat ", b"dog", "", float("nan"), [1])]
    ['3', '2.5', 'True', 'cat', 'dog', None, None, None]
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, bool | int | float) else None


def label_texts(values: Sequence[Any]) -> list[str | None]:
    """Several labels as text."""
    return [label_text(value) for value in values]


def folder_labels(names: Sequence[str]) -> list[str | None] | None:
    """The class folder of each file: the innermost folder that is not named the same for all files.

    >>> folder_labels(["cat/1.png", "cat/2.png", "dog/1.png"])
    ['cat', 'cat', 'dog']
    >>> folder_labels(["good/images/1.png", "bad/images/2.png", "3.png"])
    ['good', 'bad', None]

    Args:
        names: paths with slashes, relative to a folder.

    Returns:
        None for a file in no folder of that depth; no list if the files are not in different folders.
    """
    folders = [name.split("/")[-2::-1] for name in names]  # innermost first
    for level in range(max(map(len, folders), default=0)):
        labels = [each[level] if level < len(each) else None for each in folders]
        if len({label for label in labels if label is not None}) > 1:
            return labels
    return None


def name_columns(names: Sequence[str], contents: bool) -> dict[str, list[str | None]]:
    """The columns of labels that follow from the names of files.

    Args:
        names: of the file of each record: paths with slashes, relative to a folder.
        contents: whether files hold several records, so that their names are labels, too.
    """
    columns = {}
    folders = folder_labels(names)
    if folders is not None:
        columns[FOLDER] = folders
    if contents and len(set(names)) > 1:
        stems = {name: name.rpartition("/")[2].removesuffix(".gz").rsplit(".", 1)[0] for name in set(names)}
        columns[FILE] = [label_text(stems[name]) for name in names]
    return columns


def annotation_columns(annotations: Sequence[Mapping[str, bytes]]) -> dict[str, list[str | None]]:
    """The columns in annotations of samples, as in WebDataset: `cls` with a class, `json` with an object of values, and
    `txt` with a text.

    >>> annotation_columns([{"cls": b"3"}, {"json": b'{"age": 4.5}'}])
    {'cls': ['3', None], 'age': [None, '4.5']}

    Args:
        annotations: of each record, content by kind.
    """
    rows = [
        {**json_labels(each.get("json", b"")), **label_in("cls", each.get("cls")), **label_in("txt", each.get("txt"))}
        for each in annotations
    ]
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def label_in(name: str, content: bytes | None) -> dict[str, str]:
    """The label in a file that holds nothing else, in a column of this name."""
    label = label_text(content)
    return {} if label is None else {name: label}


def json_labels(content: bytes) -> dict[str, str]:
    """The values of a JSON object that can be labels; none if the content is something else."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    items = values.items() if isinstance(values, dict) else ()
    return {name: label for name, value in items if (label := label_text(value)) is not None}
