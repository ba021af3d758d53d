"""`items.jsonl`: the items of a data set by name, each with the key of its content, its label and its caption.

It is rewritten as a whole, so that a renamed item keeps its latents. Items of equal content share a key.
`quarantine.jsonl` lists items without latents in the same way; the records of shards hold the same.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vaekit.atomic import atomic_file
from vaekit.errors import BadCache, printable, reason_of
from vaekit.json import dumps, encodable
from vaekit.latent_cache.records import checked_key, checked_text, optional_text
from vaekit.latent_cache.shard_files import Rejected
from vaekit.reading import LINES, exists, read_text

ITEMS, QUARANTINE = "items.jsonl", "quarantine.jsonl"
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class ListedItem:
    """A name of the data set, and the content that it has."""

    name: str
    key: str
    label: str | None = None
    caption: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "name": encodable(self.name),
            "key": self.key,
            "label": None if self.label is None else encodable(self.label),
            "caption": None if self.caption is None else encodable(self.caption),
        }

    @classmethod
    def from_json(cls, value: object) -> "ListedItem":
        """The inverse of `as_json`.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("an item is no object")
        return cls(
            checked_text(value.get("name")),
            checked_key(value.get("key")),
            optional_text(value.get("label")),
            optional_text(value.get("caption")),
        )


def write_items(folder: Path, items: Iterable[ListedItem]) -> None:
    """Write the list of items.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    write_json_lines(folder / ITEMS, (item.as_json() for item in items))


def read_items(folder: Path) -> Sequence[ListedItem] | None:
    """The list of items; None if there is none, as in a cache whose first run was interrupted early.

    Raises:
        BadCache: it is damaged.
    """
    return read_json_lines(folder / ITEMS, ListedItem.from_json)


def write_quarantine(folder: Path, rejected: Iterable[Rejected]) -> None:
    """Write the list of items without latents.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    write_json_lines(folder / QUARANTINE, (each.as_json() for each in rejected))


def read_quarantine(folder: Path) -> Sequence[Rejected]:
    """The list of items without latents.

    Raises:
        BadCache: it is damaged.
    """
    return read_json_lines(folder / QUARANTINE, Rejected.from_json) or ()


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write one JSON value per line, atomically.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    with atomic_file(path) as part, open(part, "w", encoding="utf-8", newline="\n") as file:
        for value in values:
            file.write(dumps(value, indent=None) + "\n")


def read_json_lines(path: Path, parse: Callable[[object], Entry]) -> list[Entry] | None:
    """The values of a file with one JSON value per line; None if there is no file.

    Raises:
        BadCache: it is damaged.
    """
    if not exists(path):
        return None
    try:
        return [parse(json.loads(line)) for line in read_text(path, LINES).split("\n") if line]
    except (OSError, ValueError, RecursionError) as error:
        raise BadCache(
            f"{path} is damaged: {printable(reason_of(error), 200)}.",
            "Expected one JSON object per line.",
            "Run the same `vaekit cache` again, which writes this file anew.",
        ) from error
