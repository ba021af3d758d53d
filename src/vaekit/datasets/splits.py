"""Split files into training and test data by the names of files and folders."""

import re
from collections.abc import Callable, Sequence
from itertools import compress
from operator import not_

from vaekit.datasets.listing import Listed

SPLIT = re.compile(r"(train|test|val|valid|validation)(?![a-z])", re.IGNORECASE)
"""Prefixes of names of splits."""


def first_folder(name: str) -> str:
    """The top-level folder of a file."""
    return name.partition("/")[0] if "/" in name else ""


def last_folder(name: str) -> str:
    """The innermost folder of a file."""
    return name.rpartition("/")[0].rpartition("/")[2]


def own_name(name: str) -> str:
    """The name without folders."""
    return name.rpartition("/")[2]


SPLITS_OF_FILES = (first_folder,)
"""Functions that return the name of the split of a file with one item."""
SPLITS_OF_SHARDS = (own_name, first_folder, last_folder)
"""Functions that return the name of the split of a file with many items; the first with several names is used."""


def split(files: Sequence[Listed], *names_of: Callable[[str], str]) -> tuple[list[Listed], list[Listed]]:
    """Training files and test files, by the prefixes of the names of their splits.

    There are test files only if some names begin with `train` and others with `test`, `val`, `valid` or `validation`;
    all other files are training files.

    Args:
        files: all files.
        names_of: functions that return the name of a file's split; the first with several names is used.
    """
    for name_of in names_of:
        kinds = [SPLIT.match(name_of(name)) for name, _ in files]
        words = {kind[1].lower() for kind in kinds if kind}
        if "train" in words and len(words) > 1:
            train = [kind is None or kind[1].lower() == "train" for kind in kinds]
            return list(compress(files, train)), list(compress(files, map(not_, train)))
    return list(files), []
