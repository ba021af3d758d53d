"""Three steps for many things at once: while one thing runs, the next are read and the last are written.

Nothing here knows what the things are. Reading and writing happen in a few threads of their own, which pays where they
wait or leave Python's lock alone (files, Pillow, NumPy, torch); running happens in the thread that asks for results,
one thing at a time and in the order given.
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
"""That read and write. Two keep a network fed that has few cores, where they only take from it; a GPU needs more."""


def weightless(_: object) -> float:
    return 0.0


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Ran, Done]):
    """What to do with each item. `read` and `write` are called from several threads at once, `run` never is."""

    read: Callable[[Item], Read]
    run: Callable[[Item, Read], Ran]
    write: Callable[[Item, Ran], Done]
    weight: Callable[[Read], float] = weightless
    """How much room a thing takes once it has been read, in units of the caller's."""

    def __call__(self, item: Item) -> Done:
        """All three, one after the other."""
        return self.write(item, self.run(item, self.read(item)))


@dataclass(frozen=True)
class Outcome(Generic[Item, Done]):
    """What became of one item: `error` is None and `done` the result, or the other way round."""

    item: Item
    done: Done | None
    error: Exception | None


def run_pipeline(
    items: Iterable[Item],
    steps: Stages[Item, Read, Ran, Done],
    forgiven: type[Exception],
    room: float = float("inf"),
    threads: int = THREADS,
) -> Generator[Outcome[Item, Done], None, None]:
    """The outcome of each item, in order, while the following ones are under way.

    No more than `2 * threads + 1` items are ever between the start of reading and the end of writing, and no more than
    have room if they weigh as much as the last one that was read: heavy ones go one by one.

    Whatever ends the iteration, be it an error, Ctrl-C or `close`, ends the threads: what they have in hand is
    finished, what has not begun never does. Use `contextlib.closing` where the loop may break off.

    Args:
        items: taken one by one, when there is room for another.
        steps: what to do with them.
        forgiven: an error of this kind, in any step, is the outcome of its item, and the others go on. Any other is
            raised when its item's turn comes.
        room: how much weight may be under way.
        threads: that read and write.
    """
    waiting, most = iter(items), 2 * threads + 1
    reads: deque[tuple[Item, Future[Read]]] = deque()
    writes: deque[tuple[Item, Future[Done]]] = deque()
    allowed = 1  # the first tells how heavy they are

    def look_ahead(running: int) -> None:
        free = allowed - running - len(reads) - len(writes)
        reads.extend((item, pool.submit(steps.read, item)) for item in islice(waiting, max(0, free)))

    pool = ThreadPoolExecutor(threads, thread_name_prefix="vaekit")
    try:
        while True:
            look_ahead(running=0)
            if writes and (not reads or writes[0][1].done()):
                yield _outcome(*writes.popleft(), forgiven)
            elif reads:
                item, reading = reads.popleft()
                if reading.exception() is None:
                    weight = steps.weight(reading.result())
                    allowed = most if weight * most <= room else max(1, int(room / weight))
                look_ahead(running=1)
                writes.append((item, _run(item, reading, steps, forgiven, pool)))
                del reading  # and with it what was read
            else:
                return
    finally:
        pool.shutdown(cancel_futures=True)


def _run(
    item: Item,
    reading: Future[Read],
    steps: Stages[Item, Read, Ran, Done],
    forgiven: type[Exception],
    pool: ThreadPoolExecutor,
) -> Future[Done]:
    """Run what has been read and have it written."""
    try:
        return pool.submit(steps.write, item, steps.run(item, reading.result()))
    except forgiven as error:
        failed: Future[Done] = Future()
        failed.set_exception(error)
        return failed


def _outcome(item: Item, writing: Future[Done], forgiven: type[Exception]) -> Outcome[Item, Done]:
    try:
        return Outcome(item, writing.result(), None)
    except forgiven as error:
        return Outcome(item, None, error)
