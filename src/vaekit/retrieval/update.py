"""Bring an index up to date with a data set: embed new and edited items, remove those that are gone."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from vaekit.datasets.dataset import Dataset, Record
from vaekit.datasets.read_errors import with_retries
from vaekit.errors import BadItem, BadPlan, NotFound, VaekitError, counted
from vaekit.pipeline import Stages, run_pipeline
from vaekit.retrieval.contents import content_digest, stamp_of, unchanged_stamp
from vaekit.retrieval.embedding import Embedding
from vaekit.retrieval.index import Index
from vaekit.retrieval.matrix import Slots, Vectors
from vaekit.retrieval.rows import Entry, Row
from vaekit.runtime.threads import single_threaded_initializer

Prepare = Callable[[Sequence[Record]], Tensor]
"""Records to items (b, ...) as the VAE takes them. BadItem or NotFound for one that cannot be read."""
CHUNK_VALUES = 2**22
"""Values of the items that are embedded at once."""
LARGEST_CHUNK = 256
"""The maximum number of these items."""
COMMIT_ROWS = 1024
COMMIT_SECONDS = 5.0
"""A transaction is committed after this many rows, or this time."""
REMOVED_AT_ONCE = 10_000
UNIT = 1e-3
"""The largest deviation of a vector's length from 1."""


@dataclass
class Changes:
    """What an update did, in numbers of items."""

    added: int = 0
    edited: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Name to reason, for items that cannot be read or embedded."""
    seconds: float = 0.0
    """The time that reading and embedding took."""

    @property
    def embedded(self) -> int:
        """Items whose vectors were computed."""
        return self.added + self.edited


@dataclass(frozen=True)
class Job:
    """An item to look at, and its row in the index."""

    entry: Entry
    row: Row | None


@dataclass(frozen=True, eq=False)
class Looked:
    """A job after its item was read."""

    job: Job
    item: Tensor | None = None
    """(1, ...), for an item that is new or was edited."""
    error: str | None = None


@dataclass(frozen=True)
class Done:
    """A job that is done."""

    job: Job
    is_embedded: bool
    """Whether it has a new vector."""
    error: str | None


Embedded = tuple[list[Done], Vectors]
"""The jobs of a chunk, and the new vectors."""
Embed = Callable[[Iterator[list[Job]]], Generator[Embedded, None, None]]
"""Chunks of jobs to their vectors, in the order of the chunks."""


def chunk_size(values: int) -> int:
    """The number of items, each of this number of values, that are read and embedded at once."""
    return max(1, min(LARGEST_CHUNK, CHUNK_VALUES // max(1, values)))


def embedding_here(data: Dataset, prepare: Prepare, embedding: Embedding) -> Embed:
    """Embed in this process, and read the next items meanwhile."""
    stages: Stages[list[Job], list[Looked], Embedded, Embedded] = Stages(
        read=lambda jobs: [look(job, data, prepare) for job in jobs],
        run=lambda _, looked: embedded(looked, embedding),
        write=lambda _, done: done,
    )

    def embed(chunks: Iterator[list[Job]]) -> Generator[Embedded, None, None]:
        with single_threaded_initializer(), closing(run_pipeline(chunks, stages, VaekitError)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                assert outcome.done is not None
                yield outcome.done

    return embed


def update(
    index: Index,
    data: Dataset,
    embed: Embed,
    labels: Sequence[str | None],
    chunk: int,
    unlisted: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Changes:
    """Bring an index up to date with a data set.

    Items whose content is that of the index are not embedded again. The index is committed every few seconds: after an
    interruption, the same call continues. Items that are gone are removed at the end.

    Args:
        index: opened for changing.
        data: the items.
        embed: reads items and embeds them.
        labels: of the items; empty for no labels.
        chunk: the number of items that are read and embedded at once.
        unlisted: folders that could not be listed. Items in them are not removed.
        progress: called with the number of finished items and of all.

    Raises:
        BadItem: no item can be indexed. The index is not changed then.
        NoTrainingData: the disk or network of the data fails.
        CannotWriteHere: for example, the disk is full. All committed items are kept.
    """
    changes, started = Changes(), time.perf_counter()
    live = index.rows.slots()
    seen = np.zeros(len(live), bool)
    pending = Pending(index)
    finished = 0
    with closing(embed(jobs_of(index, data, labels, chunk))) as chunks:
        for done, vectors in chunks:
            for each in done:
                if each.error is None and each.job.row is not None:
                    seen[np.searchsorted(live, each.job.row.slot)] = True
                note(each, changes)
            pending.add(done, vectors)
            finished += len(done)
            progress(finished, len(data))
    pending.commit()
    if len(changes.skipped) == len(data) and len(data):
        raise BadItem(
            f"None of {counted(len(data), 'item')} can be indexed.",
            next(iter(changes.skipped.values())),
            "Check the data.",
        )
    changes.removed = remove(index, live[~seen], tuple(f"{folder}/" for folder in unlisted))
    changes.seconds = time.perf_counter() - started
    return changes


def jobs_of(index: Index, data: Dataset, labels: Sequence[str | None], chunk: int) -> Iterator[list[Job]]:
    """The items of a data set with their rows, in chunks."""
    repeated, counts = repeated_keys(data), Counter[str]()
    for start in range(0, len(data), chunk):
        jobs = []
        for position in range(start, min(start + chunk, len(data))):
            key = data.key(position)
            occurrence = 0
            if hash(key) in repeated:
                occurrence = counts[key]
                counts[key] += 1
            label = labels[position] if labels else None
            jobs.append(Job(Entry(key, occurrence, position, b"", "", label), index.rows.find(key, occurrence)))
        yield jobs


def repeated_keys(data: Dataset) -> set[int]:
    """Hashes of the keys that occur more than once. Others may have the same hash, too."""
    hashes = np.fromiter((hash(data.key(position)) for position in range(len(data))), np.int64, len(data))
    hashes.sort()
    return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def look(job: Job, data: Dataset, prepare: Prepare) -> Looked:
    """Read an item, unless it has the stamp of the index, and prepare it, unless it has the digest of the index.

    Raises:
        NoTrainingData: the disk or network fails.
    """
    known = None if job.row is None else job.row.entry
    try:
        record = with_retries(lambda: data.read(job.entry.position))
        stamp = stamp_of(record)
        if known is not None and stamp and stamp == known.stamp:
            return Looked(with_content(job, known.digest, stamp))
        digest = with_retries(lambda: content_digest(record))
        if known is not None and digest == known.digest:
            return Looked(with_content(job, digest, stamp))
        item = with_retries(lambda: prepare([record]))
        return Looked(with_content(job, digest, unchanged_stamp(record, stamp)), item)
    except (BadItem, NotFound) as error:
        return Looked(job, error=str(error))


def with_content(job: Job, digest: bytes, stamp: str) -> Job:
    """A job whose item has this content."""
    return replace(job, entry=replace(job.entry, digest=digest, stamp=stamp))


def embedded(looked: list[Looked], embedding: Embedding) -> Embedded:
    """Embed the items of a chunk; those without a valid vector get an error. Returns the vectors of the others."""
    items = [each.item for each in looked if each.item is not None]
    result = [Done(each.job, each.item is not None, each.error) for each in looked]
    if not items:
        return result, np.zeros((0, embedding.dimension), np.float32)
    try:
        return result, checked_vectors(embedding, torch.cat(items))
    except BadItem:
        pass
    vectors: list[Vectors] = []
    for place, each in enumerate(looked):
        if each.item is None:
            continue
        try:
            vectors.append(checked_vectors(embedding, each.item))
        except BadItem as error:
            result[place] = Done(each.job, False, f"{each.job.entry.name}: {error}")
    return result, np.concatenate([np.zeros((0, embedding.dimension), np.float32), *vectors])


def checked_vectors(embedding: Embedding, x: Tensor) -> Vectors:
    """The vectors of items (b, ...).

    Raises:
        BadItem: one is not finite.
        BadPlan: the embedding gives no unit vectors of its dimension.
    """
    vectors = embedding(x).detach().cpu().float().numpy()
    if vectors.shape != (len(x), embedding.dimension):
        raise BadPlan(
            f"The embedding gives an array {vectors.shape} for {len(x)} items.",
            f"Expected {(len(x), embedding.dimension)}.",
            "Return one vector per item.",
        )
    if not np.isfinite(vectors).all():
        count = int((~np.isfinite(vectors).all(axis=1)).sum())
        raise BadItem(
            f"The vectors of {count} of {len(x)} items have values that are NaN or infinite.",
            "Expected finite values.",
            "",
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if (np.abs(lengths - 1) > UNIT).any():
        raise BadPlan(
            f"The embedding gives vectors of length {lengths[np.abs(lengths - 1).argmax()]:.4g}.",
            "Expected unit vectors.",
            "Divide each vector by its length.",
        )
    return vectors


def note(done: Done, changes: Changes) -> None:
    """Count an item."""
    if done.error is not None:
        changes.skipped[done.job.entry.name] = done.error
    elif not done.is_embedded:
        changes.unchanged += 1
    elif done.job.row is None:
        changes.added += 1
    else:
        changes.edited += 1


class Pending:
    """Changes of an index that are not committed yet."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._clear()

    def _clear(self) -> None:
        self._removed: list[int] = []
        self._updated: list[tuple[int, Entry]] = []
        self._added: list[Entry] = []
        self._vectors: list[Vectors] = []
        self._since = time.monotonic()

    def add(self, done: Sequence[Done], vectors: Vectors) -> None:
        """Add the items of a chunk, and commit if it is time.

        Raises:
            CannotWriteHere: see `Index.change`.
        """
        for each in done:
            row = each.job.row
            if each.is_embedded:
                self._added.append(each.job.entry)
                if row is not None:
                    self._removed.append(row.id)
            elif each.error is None and row is not None and row.entry != each.job.entry:
                self._updated.append((row.id, each.job.entry))
        self._vectors.append(vectors)
        count = len(self._added) + len(self._updated)
        if count >= COMMIT_ROWS or (count and time.monotonic() - self._since > COMMIT_SECONDS):
            self.commit()

    def commit(self) -> None:
        """Commit all changes.

        Raises:
            CannotWriteHere: see `Index.change`.
        """
        if self._added or self._updated:
            self._index.change(self._removed, self._updated, self._added, np.concatenate(self._vectors))
        self._clear()


def remove(index: Index, slots: Slots, kept: tuple[str, ...]) -> int:
    """Remove the rows of slots, except those whose keys start with one of `kept`; returns their number."""
    removed = 0
    for start in range(0, len(slots), REMOVED_AT_ONCE):
        rows = index.rows.of_slots(slots[start : start + REMOVED_AT_ONCE].tolist())
        gone = [row.id for row in rows.values() if not (kept and row.entry.key.startswith(kept))]
        index.change(removed=gone)
        removed += len(gone)
    return removed
