"""Files of training data and files that are set apart, told apart by the names of files and folders."""

import re
from collections.abc import Callable, Sequence
from itertools import compress
from operator import not_

from vaekit.datasets.listing import Listed

SPLIT = re.compile(r"(train|test|val|valid|validation)(?![a-z])", re.IGNORECASE)
"""How the name of a split begins."""


def first_folder(name: str) -> str:
    """The folder below the top that a file is in."""
    return name.partition("/")[0] if "/" in name else ""


def last_folder(name: str) -> str:
    """The folder that a file is in."""
    return name.rpartition("/")[0].rpartition("/")[2]


def own_name(name: str) -> str:
    """Without folders."""
    return name.rpartition("/")[2]


SPLITS_OF_FILES = (first_folder,)
"""What names the split of a file that holds one item."""
SPLITS_OF_SHARDS = (own_name, first_folder, last_folder)
"""What may name the split of a file that holds many items; the first that names several is used."""


def split(files: Sequence[Listed], *names_of: Callable[[str], str]) -> tuple[list[Listed], list[Listed]]:
    """Files to train on, and those set apart: by how the name of their split begins.

    Only where some begin with `train` and others with `test`, `val`, `valid` or `validation`; any other file is
    trained on.

    Args:
        files: all of them.
        names_of: return the name of a file's split; the first that names several splits is used.
    """
    for name_of in names_of:
        kinds = [SPLIT.match(name_of(name)) for name, _ in files]
        words = {kind[1].lower() for kind in kinds if kind}
        if "train" in words and len(words) > 1:
            train = [kind is None or kind[1].lower() == "train" for kind in kinds]
            return list(compress(files, train)), list(compress(files, map(not_, train)))
    return list(files), []
