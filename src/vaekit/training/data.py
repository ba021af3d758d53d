"""Training data: items in an endless shuffled order with random access.

The order follows from the seed and the number of items. So the position of a run in its data is one number, the
samples seen, and any run or process can be given any part of it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Generator as Steps
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from threading import Barrier, Event
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from vaekit.datasets.dataset import Splits
from vaekit.runtime.threads import single_threaded_initializer
from vaekit.training.seeds import derive_seed, generator_for

PARTS = 4
"""Pieces of work that each thread gets of a batch: fewer keep some waiting at its end, more cost time themselves."""


@runtime_checkable
class Source(Protocol):
    """Items of one kind."""

    def __len__(self) -> int:
        """How many there are."""

    def batch(self, items: Tensor, seed: int) -> Tensor:
        """The items of these numbers (b,), stacked (b, ...). What is random about them (crops, flips, noise) follows
        from the seed. Called from several threads."""


@runtime_checkable
class ItemByItem(Source, Protocol):
    """A source that can make the items of a batch one by one, in any order and at the same time: what takes time to
    make. Its `batch` is `item_by_item`."""

    def room(self, count: int) -> Tensor:
        """Memory for so many items, (count, ...)."""

    def fill(self, room: Tensor, item: int, seed: int) -> None:
        """Write the item of this number there (...). Called from several threads."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """Items that are in memory already."""

    items: Tensor
    """(n, ...)."""
    prepare: Callable[[Tensor, Generator], Tensor] | None = None
    """What is done to a batch, and what is random about it."""

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, items: Tensor, seed: int) -> Tensor:
        chosen = self.items.index_select(0, items)
        return chosen if self.prepare is None else self.prepare(chosen, torch.Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Items to train on, and others to evaluate while training goes on."""

    source: Source
    held_out: Tensor | None
    """(b, ...); None where there are too few to hold some out."""
    description: Mapping[str, Any]
    """Kind, number, and a digest over names and sizes: with another one, it is another run."""
    workers: int = 0
    """Threads that read items ahead of time."""


def describe_data(splits: Splits, held_out: int) -> dict[str, Any]:
    """The description of the data of a run.

    Args:
        splits: the data.
        held_out: the number of items that are held out.
    """
    return {
        "kind": splits.train.kind,
        "items": len(splits.train),
        "digest": splits.train.digest,
        "held_out": held_out,
        "of_its_own": splits.test is not None,
    }


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Stream:
    """A source in the order in which a run sees it: all items once, in a random order, then all again in another."""

    source: Source
    seed: int

    def items(self, position: int, count: int) -> Tensor:
        """The numbers of the items that stand at `position` and behind it, (count,)."""
        length = len(self.source)
        parts = []
        while count:
            epoch, start = divmod(position, length)
            part = shuffled(length, self.seed, epoch)[start : start + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batch(self, position: int, count: int) -> Tensor:
        """The items themselves (count, ...), with what is random about them."""
        return self.source.batch(self.items(position, count), self.seed_at(position))

    def seed_at(self, position: int) -> int:
        """What is random about the items of a batch follows from this."""
        return derive_seed(self.seed, "items", position)


@lru_cache(maxsize=4)
def shuffled(length: int, seed: int, epoch: int) -> Tensor:
    """The order of one pass over the data."""
    return torch.randperm(length, generator=generator_for(seed, "order", epoch))


def item_by_item(source: ItemByItem, items: Tensor, seed: int) -> Tensor:
    """A batch of these items, one after the other."""
    room = source.room(len(items))
    for place, item in enumerate(items.tolist()):
        source.fill(room[place], item, derive_seed(seed, "item", place))
    return room


def ahead(
    stream: Stream, positions: Iterable[int], count: int, workers: int, depth: int = 2
) -> Steps[Tensor, None, None]:
    """The batches at these positions, in their order, made ahead of time by so many threads; 0 makes each when it is
    asked for, which is the quickest for data in memory.

    Close it (`contextlib.closing`) where the loop may break off: threads then finish the item that they have in hand,
    and no more. What goes wrong in one of them is raised when the turn of its batch comes.

    Args:
        stream: the data. The threads share the items of a batch where its source can make them one by one.
        positions: of the first items.
        count: items of a batch.
        workers: threads.
        depth: batches that are ready or being made beside the one that was given last; a source that makes only whole
            batches has one for each thread more.
    """
    if not workers:
        for position in positions:
            yield stream.batch(position, count)
        return
    apart = isinstance(stream.source, ItemByItem)
    most = max(depth, -(-workers // count) + 1) if apart else depth + workers
    crew = WorkerPool(workers)
    waiting: deque[PendingBatch] = deque()
    try:
        for position in positions:
            waiting.append(crew.make(stream, position, count))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        crew.close()


@dataclass(frozen=True, eq=False)
class PendingBatch:
    """A batch that is being made."""

    room: Tensor | None
    """Where its items are written, or None for a batch that comes as a whole."""
    parts: Sequence[Future[Tensor | None]]

    def result(self) -> Tensor:
        """The batch, once it is there."""
        parts = [part.result() for part in self.parts]
        batch = self.room if self.room is not None else parts[0]
        assert batch is not None
        return batch


class WorkerPool:
    """Threads that make batches. In each of them torch takes one core, as they work beside a network."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.closed = Event()
        settled = Barrier(workers + 1)
        with single_threaded_initializer():
            self.pool = ThreadPoolExecutor(workers, "data", torch.get_num_threads)
            for _ in range(workers):
                self.pool.submit(settled.wait)
            settled.wait()

    def make(self, stream: Stream, position: int, count: int) -> PendingBatch:
        """Begin with the batch at this position."""
        source = stream.source
        if not isinstance(source, ItemByItem):
            return PendingBatch(None, [self.pool.submit(stream.batch, position, count)])
        room, items = source.room(count), stream.items(position, count).tolist()
        seed, step = stream.seed_at(position), -(-count // (PARTS * self.workers))
        parts: list[Future[Tensor | None]] = [
            self.pool.submit(self._fill, source, room, items, range(start, min(start + step, count)), seed)
            for start in range(0, count, step)
        ]
        return PendingBatch(room, parts)

    def _fill(self, source: "ItemByItem", room: Tensor, items: Sequence[int], places: range, seed: int) -> None:
        for place in places:
            if self.closed.is_set():
                return
            source.fill(room[place], items[place], derive_seed(seed, "item", place))

    def close(self) -> None:
        """Let what is in hand be finished, and nothing else be begun."""
        self.closed.set()
        self.pool.shutdown(cancel_futures=True)
