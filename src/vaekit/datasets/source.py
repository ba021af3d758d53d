"""Sources: kinds of containers, with functions that recognize and open them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Dataset, RecordFormat, Splits
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog

Gather = Callable[[Path, Sequence[Listed], str, RecordFormat, SkipLog], Dataset]
"""(folder, files in it, title for messages, format, log) -> the records of these files, in order."""


@dataclass(frozen=True)
class Source:
    """A kind of container."""

    about: str
    """For messages, with {items} for the domain's noun: "a folder of {items}"."""
    yields: type
    """The type of its records."""
    claims: Callable[[Path, bytes], bool]
    """(path, its first 512 bytes, or none for a folder) -> whether this source opens the path. The first source that
    claims a path opens it."""
    open: Callable[[Path, RecordFormat, SkipLog], Splits]
    """Opens a path. Raises NoTrainingData if it is damaged or has no items, MissingPackage if a required package is not
    installed."""
    plural: str = ""
    """The plural noun for files of this kind in a folder: "tars"."""
    suffixes: Callable[[RecordFormat], frozenset[str]] = lambda _: frozenset()
    """The suffixes of such files."""
    gather: Gather | None = None
    """Opens several such files as one data set; None if that is not supported."""


def for_tests(name: str) -> str:
    """The title of a test split without a name of its own. It is part of the keys of records."""
    return f"{name} (for tests)"
