"""Open folders that may contain several kinds of files."""

from collections.abc import Sequence
from pathlib import Path

from vaekit.datasets.dataset import RecordFormat, Splits
from vaekit.datasets.listing import Listed, by_suffix, files_below
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.source import Source, for_tests
from vaekit.datasets.splits import SPLITS_OF_FILES, SPLITS_OF_SHARDS, split
from vaekit.errors import NoTrainingData, counted, shorten


def open_folder(path: Path, wanted: RecordFormat, log: SkipLog, sources: Sequence[Source]) -> Splits:
    """Open the kind of files in a folder that has the most bytes: not the images of a README, nor a table of captions.

    Args:
        path: the folder.
        wanted: the records that the domain reads.
        log: for folders that cannot be listed, and for a choice between several kinds.
        sources: the kinds of files.

    Raises:
        NoTrainingData: the folder has no files of these kinds.
    """
    suffixes = {source: source.suffixes(wanted) for source in sources}
    files = files_below(path, frozenset().union(*suffixes.values()), log.note)
    groups = by_suffix(files)
    by_source = {
        source: sorted(file for suffix in suffixes[source] for file in groups.get(suffix, ())) for source in sources
    }
    gathered = [source for source in sources if source.gather is not None and by_source[source]]
    if not gathered:
        return open_only_file(path, files, by_source, wanted, log)
    chosen = max(gathered, key=lambda source: sum(size for _, size in by_source[source]))
    if len(by_source[chosen]) < len(files):
        nouns = {source: noun(source, wanted) for source in sources}
        counts = ", ".join(f"{nouns[source]} ({len(those):,})" for source, those in by_source.items() if those)
        log.say(
            f"{path} contains {counts}. Only the {nouns[chosen]} are used: they have the most bytes. Give a folder or "
            "file inside it to use others."
        )
    train, test = split(by_source[chosen], *(SPLITS_OF_SHARDS if chosen.plural else SPLITS_OF_FILES))
    gather = chosen.gather
    assert gather is not None
    return Splits(
        gather(path, train, path.name, wanted, log),
        gather(path, test, for_tests(path.name), wanted, log) if test else None,
    )


def noun(source: Source, wanted: RecordFormat) -> str:
    """The plural noun for the files of a source; that of items if each file is one."""
    return source.plural or wanted.items


def open_only_file(
    path: Path, files: Sequence[Listed], by_source: dict[Source, list[Listed]], wanted: RecordFormat, log: SkipLog
) -> Splits:
    """Open the only file of a folder, an array.

    Raises:
        NoTrainingData: there is no file, or more than one.
    """
    if len(files) == 1:
        source = next(source for source, those in by_source.items() if those)
        return source.open(path / files[0][0], wanted, log)
    reason = (
        f"; {counted(len(log.reasons), 'folder or link', 'folders or links')} in it cannot be read"
        if log.reasons
        else ""
    )
    suffixes = sorted(frozenset().union(*(source.suffixes(wanted) for source in by_source)))
    raise NoTrainingData(
        f"The folder {path} contains no {wanted.items}{reason}.",
        f"Expected files with one of the suffixes {shorten(suffixes, 40)}.",
        "Check the path.",
    )
