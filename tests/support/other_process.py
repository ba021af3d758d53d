"""A runner that sends everything through pickle, as to another process, and finishes shards in another order."""

import pickle
from collections.abc import Generator, Iterable
from contextlib import chdir
from dataclasses import dataclass, field
from random import Random
from typing import Any

from vaekit.shards import Work


@dataclass
class OtherProcess:
    """Two workers, in this process: each unpickles the work, and what it is given. Results are shuffled in groups."""

    shards: int = 0
    """The number of shards that were done."""
    random: Random = field(default_factory=lambda: Random(0))

    def run(self, work: Work[Any, Any], specs: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        sent = pickle.dumps(work)
        with chdir("/"):  # workers are in another folder
            workers = [pickle.loads(sent).start() for _ in range(2)]
        done: list[tuple[Any, Any]] = []
        for spec in specs:
            assert str(spec)
            result = workers[self.shards % 2](pickle.loads(pickle.dumps(spec)))
            self.shards += 1
            done.append((spec, pickle.loads(pickle.dumps(result))))
            if len(done) == 3:
                yield from self.random.sample(done, 3)
                done = []
        yield from done
