"""A pipeline of three stages: while one item is processed, the next are read and the previous ones are written.

Reading and writing run in a few threads, which helps if they wait for I/O or release the GIL (files, Pillow, NumPy,
torch). Processing runs in the calling thread, one item at a time and in order.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Ran = TypeVar("Ran")
Done = TypeVar("Done", covariant=True)

THREADS = max(2, min(8, (os.cpu_count() or 1) // 2))
"""The number of threads for reading and writing. Two are sufficient for a network on few cores, with which they
compete; a GPU needs more."""


def available_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity of processes
        return os.cpu_count() or 1


def weightless(_: object) -> float:
    return 0.0


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Ran, Done]):
    """The stages of the pipeline. `read` and `write` are called from several threads concurrently, `run` is not."""

    read: Callable[[Item], Read]
    run: Callable[[Item, Read], Ran]
    write: Callable[[Item, Ran], Done]
    weight: Callable[[Read], float] = weightless
    """The memory that an item takes after reading, in any unit."""

    def __call__(self, item: Item) -> Done:
        """Run all stages for one item."""
        return self.write(item, self.run(item, self.read(item)))


@dataclass(frozen=True)
class Outcome(Generic[Item, Done]):
    """The outcome of one item: either its result `done`, or the error."""

    item: Item
    done: Done | None
    error: Exception | None


def run_pipeline(
    items: Iterable[Item],
    steps: Stages[Item, Read, Ran, Done],
    recoverable: type[Exception],
    max_weight: float = float("inf"),
    threads: int = THREADS,
) -> Generator[Outcome[Item, Done], None, None]:
    """Yield the outcome of each item, in order, while the following ones are in progress.

    At most `2 * threads + 1` items are in progress at a time, and no more than fit into `max_weight` if all weigh as
    much as the last one that was read: heavy items are processed one at a time.

    The threads end when the iteration ends, by an error, Ctrl-C or `close`: items in progress are finished, and no
    others are started. Use `contextlib.closing` if the loop may be left early.

    Args:
        items: consumed one by one, as capacity becomes available.
        steps: the stages.
        recoverable: errors of this type, in any stage, become the outcome of their item. Any other error is raised in
            the order of the items.
        max_weight: the maximum total weight in progress.
        threads: the number of threads for reading and writing.
    """
    waiting, most = iter(items), 2 * threads + 1
    reads: deque[tuple[Item, Future[Read]]] = deque()
    writes: deque[tuple[Item, Future[Done]]] = deque()
    allowed = 1  # until the weight of the first is known

    def look_ahead(running: int) -> None:
        free = allowed - running - len(reads) - len(writes)
        reads.extend((item, pool.submit(steps.read, item)) for item in islice(waiting, max(0, free)))

    pool = ThreadPoolExecutor(threads, thread_name_prefix="vaekit")
    try:
        while True:
            look_ahead(running=0)
            if writes and (not reads or writes[0][1].done()):
                yield _outcome(*writes.popleft(), recoverable)
            elif reads:
                item, reading = reads.popleft()
                if reading.exception() is None:
                    weight = steps.weight(reading.result())
                    allowed = most if weight * most <= max_weight else max(1, int(max_weight / weight))
                look_ahead(running=1)
                writes.append((item, _run(item, reading, steps, recoverable, pool)))
                del reading  # frees the item that was read
            else:
                return
    finally:
        pool.shutdown(cancel_futures=True)


def _run(
    item: Item,
    reading: Future[Read],
    steps: Stages[Item, Read, Ran, Done],
    recoverable: type[Exception],
    pool: ThreadPoolExecutor,
) -> Future[Done]:
    """Process an item that was read, and submit it for writing."""
    try:
        return pool.submit(steps.write, item, steps.run(item, reading.result()))
    except recoverable as error:
        failed: Future[Done] = Future()
        failed.set_exception(error)
        return failed


def _outcome(item: Item, writing: Future[Done], recoverable: type[Exception]) -> Outcome[Item, Done]:
    try:
        return Outcome(item, writing.result(), None)
    except recoverable as error:
        return Outcome(item, None, error)
