"""Folders that may hold several kinds of files: which of them are the data."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.datasets.dataset import RecordFormat, Splits
from vaekit.datasets.listing import Listed, by_suffix, files_below
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source, for_tests
from vaekit.datasets.splits import SPLITS_OF_FILES, SPLITS_OF_SHARDS, split
from vaekit.errors import NoTrainingData, shorten


def open_folder(path: Path, wanted: RecordFormat, log: SkipLog, sources: Sequence[Source]) -> Splits:
    """The data in a folder: of the kinds of files that it holds, the one with the most bytes. So neither the images of
    a README nor a table of captions is taken for the data.

    Args:
        path: the folder.
        wanted: what the domain reads.
        log: for folders that cannot be listed, and for a choice among several kinds.
        sources: that can be gathered from a folder, and single files that it may hold instead.

    Raises:
        NoTrainingData: no source has files in it.
    """
    suffixes = {source: source.suffixes(wanted) for source in sources}
    files = files_below(path, frozenset().union(*suffixes.values()), log.note)
    groups = by_suffix(files)
    held = {
        source: sorted(file for suffix in suffixes[source] for file in groups.get(suffix, ())) for source in sources
    }
    gathered = [source for source in sources if source.gather is not None and held[source]]
    if not gathered:
        return open_only_file(path, files, held, wanted, log)
    chosen = max(gathered, key=lambda source: sum(size for _, size in held[source]))
    if len(held[chosen]) < len(files):
        nouns = {source: noun(source, wanted) for source in sources}
        counts = ", ".join(f"{nouns[source]} ({len(those):,})" for source, those in held.items() if those)
        log.say(
            f"In {path} are {counts}. Only the {nouns[chosen]} are used: they have the most bytes. Name a folder or "
            "file inside it to use others."
        )
    train, test = split(held[chosen], *(SPLITS_OF_SHARDS if chosen.plural else SPLITS_OF_FILES))
    gather = chosen.gather
    assert gather is not None
    return Splits(
        gather(path, train, path.name, wanted, log),
        gather(path, test, for_tests(path.name), wanted, log) if test else None,
    )


def noun(source: Source, wanted: RecordFormat) -> str:
    """What the files of a source are called; items themselves where a file is one."""
    return source.plural or wanted.items


def open_only_file(
    path: Path, files: Sequence[Listed], held: dict[Source, list[Listed]], wanted: RecordFormat, log: SkipLog
) -> Splits:
    """The one array in a folder without anything else.

    Raises:
        NoTrainingData: there is none, or more than one.
    """
    if len(files) == 1:
        source = next(source for source, those in held.items() if those)
        return source.open(path / files[0][0], wanted, log)
    reason = f"; {len(log.reasons)} folders or links in it cannot be followed" if log.reasons else ""
    suffixes = sorted(frozenset().union(*(source.suffixes(wanted) for source in held)))
    raise NoTrainingData(
        f"The folder {path} holds no {wanted.items}{reason}.",
        f"Expected files that end in one of {shorten(suffixes, 40)}.",
        "Check the name.",
    )
