"""Work that is divided into shards: where it runs, and what it returns.

A shard is a part of a task that is done as a whole or not at all, such as a file of a cache. Doing it twice gives the
same bytes. Runners decide where: in this process (`InProcess`), or on the actors of a Ray cluster (`vaekit.cluster`).
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

try:
    import fcntl
except ImportError:  # on Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

Spec = TypeVar("Spec")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Spec, Result]):
    """What is done with shards. Picklable, as specifications and results are."""

    start: Callable[[], Callable[[Spec], Result]]
    """Called once by each worker: loads what all shards need, such as a VAE, and returns the function of a shard."""


@runtime_checkable
class Runner(Protocol):
    """Where shards are processed."""

    def run(self, work: Work[Spec, Result], specs: Iterable[Spec]) -> Generator[tuple[Spec, Result], None, None]:
        """The results of shards as they are done, in any order, each once.

        Workers end when the iteration ends, by an error or `close`: use `contextlib.closing` if the loop may be left
        early.

        Args:
            work: what is done.
            specs: the shards. Taken one by one, as workers become free: they may be read meanwhile.

        Raises:
            VaekitError: as raised by the work, or the runner gave up on a shard.
        """


@dataclass(frozen=True)
class InProcess:
    """One shard after the other in this process."""

    def run(self, work: Work[Spec, Result], specs: Iterable[Spec]) -> Generator[tuple[Spec, Result], None, None]:
        process: Callable[[Spec], Result] | None = None
        for spec in specs:
            process = process or work.start()
            yield spec, process(spec)


IN_PROCESS = InProcess()


@dataclass(frozen=True)
class Numbered(Generic[Spec]):
    """A shard and its place among all of them."""

    number: int
    spec: Spec

    def __str__(self) -> str:
        return str(self.spec)


def run_in_order(
    runner: Runner, work: Work[Spec, Result], specs: Iterable[Spec]
) -> Generator[tuple[Spec, Result], None, None]:
    """The results of shards in the order of the shards. Those that are done early are kept in memory until then."""
    numbered = (Numbered(number, spec) for number, spec in enumerate(specs))
    early: dict[int, tuple[Spec, Result]] = {}
    number = 0
    with closing(runner.run(Work(partial(_start_numbered, work)), numbered)) as results:
        for shard, result in results:
            early[shard.number] = shard.spec, result
            while number in early:
                yield early.pop(number)
                number += 1


def _start_numbered(work: Work[Spec, Result]) -> Callable[[Numbered[Spec]], Result]:
    process = work.start()
    return lambda shard: process(shard.spec)


def strided(specs: Sequence[Spec], rank: int, of: int) -> Sequence[Spec]:
    """The part of shards that is done by one of several independent processes, such as the tasks of a Slurm array.

    All of them must be given the same list: that of all shards, not of those that are left.

    >>> strided("abcdefg", 1, 3)
    'be'

    Args:
        specs: all shards.
        rank: the number of this process, from 0.
        of: the number of processes.
    """
    return specs[rank::of]


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Wait until no other process has a claim, and hold it for the block.

    A claim ends with its process, however that ends. The block has to check first whether the process that it waited
    for has done the work. Where files cannot be locked, nothing is claimed, and work may be done twice.

    Args:
        path: of a file that stands for the claim; removed after a block without an error.
    """
    file = _locked(path)
    try:
        yield
        with suppress(OSError):
            path.unlink()
    finally:
        if file is not None:
            os.close(file)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold a lock for the block that other processes may share, unless one has it exclusively (`FileLock`).

    Raises:
        BlockingIOError: a process has it exclusively.
    """
    file = _locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB) if HAS_LOCKS else None
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def _locked(path: Path, operation: int | None = None) -> int | None:
    """The descriptor of a file that is locked until it is closed; None if that is not possible.

    Raises:
        BlockingIOError: the operation does not wait, and another process has the lock.
    """
    if not HAS_LOCKS:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # whoever writes beside it says why
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX if operation is None else operation)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError:  # a file system without locks
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return file
