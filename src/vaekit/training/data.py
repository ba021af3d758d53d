"""Training data: an endless shuffled sequence of items with random access.

The order follows from the seed and the number of items, so that the position of a run in its data is a single integer,
the number of samples, and every process can load any part of the sequence.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Generator as Steps
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Barrier, Event
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.datasets.dataset import Splits
from vaekit.runtime.threads import single_threaded_initializer
from vaekit.training.seeds import derive_seed, generator_for

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)
PARTS = 4
"""Tasks per thread and batch: with fewer, threads idle at the end of a batch; more have a higher overhead."""


@runtime_checkable
class Source(Protocol[Batch_co]):
    """Items of one shape: as tensors for a VAE. Picklable."""

    def __len__(self) -> int:
        """The number of items."""

    def batch(self, items: Tensor, seed: int) -> Batch_co:
        """The items with these indices (b,), stacked: (b, ...). Random transformations (crops, flips, noise) follow
        from the seed. Thread-safe."""


@runtime_checkable
class ItemByItem(Source[Tensor], Protocol):
    """A source whose items are slow to load, and can be loaded one by one in parallel. Its `batch` is
    `item_by_item`."""

    def empty(self, count: int) -> Tensor:
        """An uninitialized batch of `count` items, (count, ...)."""

    def fill(self, out: Tensor, item: int, seed: int) -> None:
        """Write the item with this index into `out`, (...). Thread-safe."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """Items in memory."""

    items: Tensor
    """(n, ...)."""
    prepare: Callable[[Tensor, Generator], Tensor] | None = None
    """A random transformation of batches; None for none. Must be picklable."""

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        batch = self.items.index_select(0, items)
        return batch if self.prepare is None else self.prepare(batch, torch.Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Items for training, and held-out items for validation."""

    source: Source[Tensor]
    held_out: Tensor | None
    """(b, ...); None if there are too few items."""
    description: Mapping[str, Any]
    """Kind, number and digest of the data, part of the identity of a run."""
    workers: int = 0
    """Threads that load items ahead of time; 0 for data in memory."""


@runtime_checkable
class InGroups(Source[Batch_co], Protocol):
    """A source of which a batch has items of one group, such as those of one size."""

    @property
    def groups(self) -> Sequence[Tensor]:
        """The indices of the items of each group, (n,) each."""


def describe_data(splits: Splits, held_out: int) -> dict[str, Any]:
    """The description of the data of a run.

    Args:
        splits: the data.
        held_out: the number of held-out items.
    """
    return {
        "kind": splits.train.kind,
        "items": len(splits.train),
        "digest": splits.train.digest,
        "held_out": held_out,
        "of_its_own": splits.test is not None,
    }


@dataclass(frozen=True, eq=False)
class Stream(Generic[Batch_co]):
    """The items of a source in the order of a run: each epoch has all items once, in its own random order.

    If the source has several groups, each batch is of one of them, and the last batch of each group in an epoch has the
    items that are left, which may be fewer than `count`. Positions then advance by `count` for every batch.
    """

    source: Source[Batch_co]
    seed: int

    @property
    def groups(self) -> Sequence[Tensor]:
        """The indices of the items of each group; empty if all can be in one batch."""
        source: object = self.source
        groups = source.groups if isinstance(source, InGroups) else ()
        return groups if len(groups) > 1 else ()

    def epoch_length(self, count: int) -> int:
        """The number of positions of an epoch, for batches of `count` items."""
        groups = self.groups
        return sum(-(-len(group) // count) for group in groups) * count if groups else len(self.source)

    def items(self, position: int, count: int) -> Tensor:
        """The indices of the items from `position` on, (count,); of groups, those of the batch at this position."""
        groups = self.groups
        if groups:
            epoch, start = divmod(position, self.epoch_length(count))
            group, part = grouped(tuple(map(len, groups)), self.seed, epoch, count)[start // count]
            return groups[group].index_select(0, part)
        length = len(self.source)
        parts = []
        while count:
            epoch, start = divmod(position, length)
            part = shuffled(length, self.seed, epoch)[start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batch(self, position: int, count: int) -> Batch_co:
        """The items from `position` on, with random transformations: (count, ...)."""
        return self.source.batch(self.items(position, count), self.seed_at(position))

    def seed_at(self, position: int) -> int:
        """The seed of the random transformations of the batch at this position."""
        return derive_seed(self.seed, "items", position)


@lru_cache(maxsize=4)
def shuffled(length: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch: a permutation of `length` indices."""
    return torch.randperm(length, generator=generator_for(seed, "order", epoch))


@lru_cache(maxsize=4)
def grouped(lengths: tuple[int, ...], seed: int, epoch: int, count: int) -> list[tuple[int, Tensor]]:
    """The batches of an epoch: the number of a group, and at most `count` places in it."""
    generator = generator_for(seed, "order", epoch)
    batches = [
        (group, part)
        for group, length in enumerate(lengths)
        for part in torch.randperm(length, generator=generator).split(count)
    ]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def item_by_item(source: ItemByItem, items: Tensor, seed: int) -> Tensor:
    """A batch of the items with these indices (b,), loaded one after the other."""
    batch = source.empty(len(items))
    for index, item in enumerate(items.tolist()):
        source.fill(batch[index], item, derive_seed(seed, "item", index))
    return batch


def ahead(
    stream: Stream[Batch], positions: Iterable[int], count: int, workers: int, depth: int = 2
) -> Steps[Batch, None, None]:
    """The batches at these positions, in order, loaded ahead of time by threads.

    Close the generator (`contextlib.closing`) if the loop may end early: threads then stop after their current item.
    Errors in a thread are raised when it is the turn of the batch.

    Args:
        stream: the data. Threads share the items of a batch if its source can load them one by one.
        positions: of the first item of each batch.
        count: the batch size.
        workers: the number of threads; 0 loads each batch on demand, which is fastest for data in memory.
        depth: the number of batches that are ready or being loaded besides the current one; for a source without
            single items, plus one for each thread.
    """
    if not workers:
        for position in positions:
            yield stream.batch(position, count)
        return
    by_item = isinstance(stream.source, ItemByItem)
    limit = max(depth, -(-workers // count) + 1) if by_item else depth + workers
    pool = WorkerPool(workers)
    pending: deque[PendingBatch[Batch]] = deque()
    try:
        for position in positions:
            pending.append(pool.load(stream, position, count))
            if len(pending) > limit:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.close()


@dataclass(frozen=True, eq=False)
class PendingBatch(Generic[Batch]):
    """A batch that is being loaded."""

    out: Tensor | None
    """The batch that threads write to; None for a batch that is loaded as a whole."""
    parts: Sequence[Future[Batch | None]]

    def result(self) -> Batch:
        """Wait for the batch."""
        parts = [part.result() for part in self.parts]
        batch = self.out if self.out is not None else parts[0]
        assert batch is not None
        return cast(Batch, batch)


class WorkerPool:
    """Threads that load batches, with one torch thread each, since they run beside a network."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.closed = Event()
        started = Barrier(workers + 1)
        with single_threaded_initializer():
            self.pool = ThreadPoolExecutor(workers, "data", torch.get_num_threads)
            for _ in range(workers):
                self.pool.submit(started.wait)
            started.wait()

    def load(self, stream: Stream[Batch], position: int, count: int) -> PendingBatch[Batch]:
        """Start to load the batch at this position."""
        source: object = stream.source
        if not isinstance(source, ItemByItem):
            return PendingBatch(None, [self.pool.submit(stream.batch, position, count)])
        batch, items = source.empty(count), stream.items(position, count).tolist()
        seed, step = stream.seed_at(position), -(-count // (PARTS * self.workers))
        parts: list[Future[Batch | None]] = [
            self.pool.submit(self._fill, source, batch, items, range(start, min(start + step, count)), seed)
            for start in range(0, count, step)
        ]
        return PendingBatch(batch, parts)

    def _fill(self, source: ItemByItem, batch: Tensor, items: Sequence[int], indices: range, seed: int) -> None:
        for index in indices:
            if self.closed.is_set():
                return
            source.fill(batch[index], items[index], derive_seed(seed, "item", index))

    def close(self) -> None:
        """Wait for the current items, and load no more."""
        self.closed.set()
        self.pool.shutdown(cancel_futures=True)
