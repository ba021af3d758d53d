"""The items of a data set for a cache: their contents by key, sizes, labels and captions."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vaekit.datasets.captions import read_captions
from vaekit.datasets.dataset import BytesRecord, Dataset, FileRecord, Record, Splits
from vaekit.datasets.read_errors import read_error, with_retries
from vaekit.datasets.skip_log import SkipLog
from vaekit.datasets.whole import labels_of, whole
from vaekit.domains.domain import Domain, Schema
from vaekit.domains.fitting import Fitting, Size
from vaekit.domains.item_batches import open_items
from vaekit.errors import BadItem, BadPlan, NotFound, printable
from vaekit.latent_cache.item_list import read_json_lines, write_json_lines
from vaekit.latent_cache.records import checked_key, checked_sides, checked_text
from vaekit.latent_cache.shard_files import Rejected
from vaekit.pipeline import THREADS
from vaekit.reading import ITEM, read_bytes
from vaekit.retrieval.contents import content_digest, stamp_of, unchanged_stamp
from vaekit.runtime.threads import single_threaded_initializer
from vaekit.tasks.batch import Progress

SPLITS = ("train", "test", "all")
STAMPS = "stamps.jsonl"
"""The file of a cache in which the contents of files are remembered, so that unchanged files are not read again."""
AT_ONCE = 64
"""Items that a thread looks at before it reports."""


@dataclass(frozen=True, eq=False)
class CacheData:
    """A data set that is cached."""

    dataset: Dataset
    labels: Sequence[str | None]
    """Of each item; empty for none."""
    captions: Sequence[str | None]
    """Of each item; empty for none."""
    unlisted: Mapping[str, str] = field(default_factory=dict)
    """Folders and files that cannot be listed, with reasons."""
    notes: Sequence[str] = ()

    def label(self, position: int) -> str | None:
        return self.labels[position] if self.labels else None

    def caption(self, position: int) -> str | None:
        return self.captions[position] if self.captions else None


@dataclass(frozen=True, slots=True)
class Scanned:
    """An item of a data set that can be read."""

    position: int
    name: str
    key: str
    """SHA-256 of its content."""
    size: Size
    stamp: str = ""
    """Of its file, if it has one."""


@dataclass(frozen=True, eq=False)
class Scan:
    """All items of a data set."""

    items: Sequence[Scanned]
    rejected: Sequence[Rejected]
    """Items that cannot be read."""


def open_cache_data(
    domain: Domain,
    schema: Schema,
    path: Path,
    split: str = "train",
    label: str | None = None,
    caption: str | None = None,
) -> CacheData:
    """Open a data set.

    Args:
        domain: of its items.
        schema: of the VAE.
        path: of the data set.
        split: "train", "test" or "all", where the data set has a test split.
        label: the column of labels; None for a usual one.
        caption: the column of captions; None for a usual one, or files beside the items.

    Raises:
        NotFound, NoTrainingData: there are no items, or no such column.
        BadPlan: there is no such split.
    """
    if split not in SPLITS:
        raise BadPlan(f"There is no split {printable(split)!r}.", f"Expected one of {', '.join(SPLITS)}.", "")
    notes: list[str] = []
    log = SkipLog(say=notes.append)
    splits = open_items(domain, path, log, schema)
    dataset = split_of(path, splits, split)
    if split == "train" and splits.test is not None:
        notes.append(
            f"{len(splits.test):,} {domain.items} of the test split are left out; --split test caches them, --split "
            "all both."
        )
    labels = labels_of(whole(Splits(dataset)), label)
    return CacheData(dataset, labels, read_captions(dataset, caption), dict(log.reasons), notes)


def open_plain(domain: Domain, schema: Schema, path: Path, split: str) -> CacheData:
    """Open a data set without labels and captions, for workers that are given them.

    Raises:
        NotFound, NoTrainingData: there are no items.
    """
    return CacheData(split_of(path, open_items(domain, path, SkipLog(), schema), split), (), ())


def split_of(path: Path, splits: Splits, split: str) -> Dataset:
    """A split of a data set.

    Raises:
        NotFound: there is no test split.
    """
    if split == "test" and splits.test is None:
        raise NotFound(f"{path} has no test split.", "", "Omit --split.")
    if split == "test":
        assert splits.test is not None
        return splits.test
    return whole(splits) if split == "all" and splits.test is not None else splits.train


def in_memory(record: Record) -> Record:
    """A record whose file, if it has one, was read: its content and its key are of the same moment.

    Raises:
        BadItem, NotFound: it cannot be read.
    """
    if not isinstance(record, FileRecord):
        return record
    path = record.path
    try:
        content = read_bytes(path, ITEM)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", "", "Check the name.") from error
    except (OSError, MemoryError) as error:
        raise read_error(str(path), error) from error
    if not content:
        raise BadItem(f"{path} is empty: it has 0 bytes.", "", "Copy or download the file again.")
    return BytesRecord(str(path), len(content), lambda count: content[:count])


def scan(data: CacheData, fitting: Fitting, folder: Path, progress: Progress) -> Scan:
    """Look at all items: the keys of their contents, and their sizes.

    Files that did not change since the last run are not read.

    Args:
        data: the data set.
        fitting: reads sizes.
        folder: of the cache.
        progress: called with the number of items, and of all.

    Raises:
        NoTrainingData: the disk or network of the data fails.
    """
    known = read_stamps(folder)
    items: list[Scanned] = []
    rejected = [Rejected("", name, reason) for name, reason in data.unlisted.items()]
    count, done = len(data.dataset), 0
    chunks = [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    with threads() as pool:
        for results in pool.map(lambda chunk: [look(data.dataset, each, fitting, known) for each in chunk], chunks):
            for result in results:
                (items if isinstance(result, Scanned) else rejected).append(result)  # type: ignore[arg-type]
            done += len(results)
            progress(done, count)
    return Scan(items, rejected)


def look(dataset: Dataset, position: int, fitting: Fitting, known: Mapping[str, Scanned]) -> Scanned | Rejected:
    """The key and the size of an item, or why it has none.

    Raises:
        NoTrainingData: the disk or network of the data fails.
    """
    name, key = dataset.key(position), ""
    try:
        record = with_retries(lambda: dataset.read(position))
        stamp = stamp_of(record)
        before = known.get(name)
        if before is not None and stamp and before.stamp == stamp:
            return Scanned(position, name, before.key, before.size, stamp)
        content = with_retries(lambda: in_memory(record))
        key = content_digest(content).hex()
        return Scanned(position, name, key, fitting.size(content), unchanged_stamp(record, stamp))
    except (BadItem, NotFound) as error:
        return Rejected(key, name, str(error))


@contextmanager
def threads(count: int = THREADS) -> Iterator[ThreadPoolExecutor]:
    """Threads with one core each, which drop their work if the block ends early."""
    with single_threaded_initializer():
        pool = ThreadPoolExecutor(count, "vaekit")
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def read_stamps(folder: Path) -> dict[str, Scanned]:
    """The files that were scanned before, by name; empty if they are not known."""
    try:
        return {each.name: each for each in read_json_lines(folder / STAMPS, scanned_from) or ()}
    except Exception:  # it only saves time
        return {}


def write_stamps(folder: Path, items: Sequence[Scanned]) -> None:
    """Remember the files that were scanned.

    Raises:
        CannotWrite: the disk is full, or the folder is not writable.
    """
    lines = (
        {"name": item.name, "stamp": item.stamp, "key": item.key, "size": list(item.size)}
        for item in items
        if item.stamp and item.name.isprintable()
    )
    write_json_lines(folder / STAMPS, lines)


def scanned_from(value: object) -> Scanned:
    """A line of the file of stamps.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError("a stamp is no object")
    name, stamp, key, size = (value.get(field) for field in ("name", "stamp", "key", "size"))
    return Scanned(-1, checked_text(name), checked_key(key), checked_sides(size), checked_text(stamp))
