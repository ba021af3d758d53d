"""Work that is divided into shards: where it runs, and what it returns.

A shard is a part of a task that is done as a whole or not at all, such as a file of a cache. Doing it twice gives the
same bytes. Runners decide where: in this process (`InProcess`), or on the actors of a Ray cluster (`vaekit.cluster`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Spec = TypeVar("Spec")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Spec, Result]):
    """What is done with shards. Picklable, as specifications and results are."""

    start: Callable[[], Callable[[Spec], Result]]
    """Called once by each worker: loads what all shards need, such as a VAE, and returns the function of a shard."""


class Runner(Protocol):
    """Where shards are processed."""

    def run(self, work: Work[Spec, Result], specs: Sequence[Spec]) -> Iterator[tuple[Spec, Result]]:
        """The results of shards as they are done, in any order, each once.

        Raises:
            VaekitError: as raised by the work, or the runner gave up on a shard.
        """


@dataclass(frozen=True)
class InProcess:
    """One shard after the other in this process."""

    def run(self, work: Work[Spec, Result], specs: Sequence[Spec]) -> Iterator[tuple[Spec, Result]]:
        if specs:
            process = work.start()
            for spec in specs:
                yield spec, process(spec)
