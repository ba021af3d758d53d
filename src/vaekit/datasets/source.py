"""What a source is: one kind of container, how it is recognized and how it is opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit.datasets.dataset import Dataset, RecordFormat, Splits
from vaekit.datasets.listing import Listed
from vaekit.datasets.skip_log import SkipLog

Gather = Callable[[Path, Sequence[Listed], str, RecordFormat, SkipLog], Dataset]
"""(folder, files in it, title for messages, format, log) -> all records in these files, in their order."""


@dataclass(frozen=True)
class Source:
    """A kind of container."""

    about: str
    """For messages, with {items} for the domain's noun: "a folder of {items}"."""
    yields: type
    """The type of its records."""
    claims: Callable[[Path, bytes], bool]
    """(path, its first 512 bytes, or none of a folder) -> whether it is one of these. Only the first source that
    claims a path opens it."""
    open: Callable[[Path, RecordFormat, SkipLog], Splits]
    """Raises NoTrainingData for one that is damaged or holds no items, MissingPackage where it takes a package that is
    not installed."""
    plural: str = ""
    """For a source of which a folder may be full: "tars"."""
    suffixes: Callable[[RecordFormat], frozenset[str]] = lambda _: frozenset()
    """Of the files that such a folder is full of."""
    gather: Gather | None = None


def for_tests(name: str) -> str:
    """The title of a part that is set apart, where nothing else distinguishes it from the other."""
    return f"{name} (for tests)"
