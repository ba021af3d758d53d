"""Hand shards out to workers, collect their results, and repeat those of workers that died."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from vaekit.errors import ClusterFailed, ShardFailed, VaekitError, counted, printable

Spec = TypeVar("Spec")
DEATHS = 3
"""Deaths of workers, on one shard or one after the other at their start, after which the run gives up."""


@dataclass(frozen=True)
class Answer:
    """What a call of a worker returned."""

    result: Any = None
    error: VaekitError | None = None
    """What the work raised; the result is None then."""


class WorkerDied(Exception):
    """The process of a worker, or its machine, ended during a call. The message is the reason, as far as it is known.
    Never reaches a user."""


Call = Any
"""A running call of a worker. Hashable."""


class Workers(Protocol):
    """Processes that work is done in. Each has one call at a time."""

    def start(self) -> tuple[Any, Call]:
        """Start a worker: the worker, and the call that loads what it needs. The call may take until there is room."""

    def process(self, worker: Any, spec: Any) -> Call:
        """Let a worker process a shard."""

    def wait(self, calls: Iterable[Call]) -> list[Call]:
        """The calls that are done, or whose worker died; none after a while.

        Raises:
            ClusterFailed: there are no workers any more, and there will be none.
        """

    def answer(self, call: Call) -> Answer:
        """The answer of a call that is done.

        Raises:
            WorkerDied: there is none.
        """

    def stop(self, worker: Any) -> None:
        """End a worker, if it has not ended."""


@dataclass(eq=False)
class Shard(Generic[Spec]):
    """A shard that is not done."""

    spec: Spec
    deaths: int = 0
    """Workers that died while they processed it."""


@dataclass(eq=False)
class Slot(Generic[Spec]):
    """A place for a worker: when it dies, another one takes its place."""

    worker: Any
    call: Call | None
    """What it does: a shard, or it starts, or nothing."""
    shard: Shard[Spec] | None = None
    """What it processes; None while it starts. A worker has one at a time: if it had the next one already, and died at
    the begin of it, the answer of the one before might be lost, too, and be computed twice."""

    @property
    def is_free(self) -> bool:
        """Whether it has started, and has no shard."""
        return self.call is None


class Dispatcher(Generic[Spec]):
    """Shards, workers, and which of these has which.

    Args:
        workers: starts them.
        count: the number of workers.
        specs: the shards. Taken one by one.
        say: called with a sentence when a worker died.
        abandoned: whether nobody wants further shards: those that workers have are finished, and no other one is begun.
    """

    def __init__(
        self,
        workers: Workers,
        count: int,
        specs: Iterable[Spec],
        say: Callable[[str], None],
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._workers, self._count, self._say, self._abandoned = workers, count, say, abandoned
        self._specs: Iterator[Spec] = iter(specs)
        self._waiting: deque[Shard[Spec]] = deque()
        self._slots: list[Slot[Spec]] = []
        self._failed_starts = 0

    def run(self) -> Generator[tuple[Spec, Any], None, None]:
        """The results of shards as they are done.

        Raises:
            VaekitError: raised by the work.
            ShardFailed: several workers died while they processed the same shard.
            ClusterFailed: workers cannot be started.
        """
        self._take(self._count)
        self._slots = [Slot(*self._workers.start()) for _ in range(min(self._count, len(self._waiting)))]
        while calls := {slot.call: slot for slot in self._slots if slot.call is not None and self._is_needed(slot)}:
            done = [each for call in self._workers.wait(calls) for each in self._collect(calls[call])]
            for slot in self._slots:
                self._hand_out(slot)
            self._take(len(self._slots))  # read while the workers are busy
            yield from done

    def stop(self) -> None:
        """End all workers."""
        for slot in self._slots:
            self._workers.stop(slot.worker)

    def _is_needed(self, slot: Slot[Spec]) -> bool:
        """Whether a worker has a shard, or there is one for it when it has started."""
        return slot.shard is not None or bool(self._waiting)

    def _take(self, count: int) -> None:
        """Take shards until `count` are waiting, or there are no more."""
        self._waiting.extend(map(Shard, islice(self._specs, max(0, count - len(self._waiting)))))
        if self._abandoned():
            self._waiting.clear()

    def _hand_out(self, slot: Slot[Spec]) -> None:
        """Give a worker that is free the next shard, if there is one."""
        if slot.is_free and not self._abandoned():
            self._take(1)
            if self._waiting:
                slot.shard = self._waiting.popleft()
                slot.call = self._workers.process(slot.worker, slot.shard.spec)

    def _collect(self, slot: Slot[Spec]) -> list[tuple[Spec, Any]]:
        """The result of a worker that is done, if it is that of a shard."""
        shard = slot.shard
        try:
            answer = self._workers.answer(slot.call)
        except WorkerDied as death:
            self._replace(slot, str(death))
            return []
        if answer.error is not None:
            raise answer.error
        slot.call = slot.shard = None
        if shard is None:
            self._failed_starts = 0
            return []
        return [(shard.spec, answer.result)]

    def _replace(self, slot: Slot[Spec], reason: str) -> None:
        """Start another worker in the place of one that died. Its shard is the next one.

        Raises:
            ShardFailed, ClusterFailed: this happened too often.
        """
        reason, shard = printable(reason, 300), slot.shard
        if shard is None:
            self._failed_starts += 1
            if self._failed_starts >= DEATHS:
                raise ClusterFailed(
                    f"{counted(DEATHS, 'worker')} died while they started. The last one: {reason}.",
                    "Expected workers that can load the VAE.",
                    "Check the memory of the machines, and whether vaekit runs on them.",
                )
            self._say(f"A worker died while it started ({reason}); another one is started.")
        else:
            name = printable(str(shard.spec), 200)
            shard.deaths += 1
            if shard.deaths >= DEATHS:
                raise ShardFailed(
                    f"{counted(DEATHS, 'worker')} died while they processed {name}. The last one: {reason}.",
                    "Other shards are not affected, and what is done is kept.",
                    "Check the items of this shard, and the memory of the machines; then run the same command again.",
                )
            self._say(f"A worker died while it processed {name} ({reason}); this is repeated.")
            self._waiting.appendleft(shard)
        self._workers.stop(slot.worker)
        slot.shard = slot.call = None
        if not self._abandoned():
            slot.worker, slot.call = self._workers.start()
