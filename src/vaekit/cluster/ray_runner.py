"""Process shards on the workers of a Ray cluster."""

import pickle
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from vaekit.cluster.connection import require_ray
from vaekit.cluster.driver_process import driven_results
from vaekit.cluster.messages import Sealed, Settings
from vaekit.cluster.ray_workers import ray_results
from vaekit.shards import Work

Spec = TypeVar("Spec")
Result = TypeVar("Result")


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class RayRunner:
    """Workers of a Ray cluster, or of Ray on this machine, which is started for the run and ended afterwards.

    Each worker has a GPU, or an equal part of the CPUs. When one dies, another one takes its place, and its shard is
    repeated. Another process talks to Ray: if this process dies, that one lets workers finish the shards that they
    have, and ends. Where this process is connected to Ray already, it talks to Ray itself, and keeps the connection.
    """

    address: str | None = None
    """Of a running cluster; None for that of the environment (RAY_ADDRESS), or else this machine."""
    workers: int | None = None
    """The number of workers; None for one for each GPU, or as many as the CPUs allow."""
    use_gpus: bool = True
    """False if the work is to be done on CPUs."""
    patience: float = 900.0
    """Seconds to wait for the first worker, and again when none is left: a cluster may have to start machines."""
    say: Callable[[str], None] = silent
    """Called with a sentence when a worker died."""

    def run(self, work: Work[Spec, Result], specs: Iterable[Spec]) -> Generator[tuple[Spec, Result], None, None]:
        """The results of shards as they are done, in any order, each once.

        Raises:
            VaekitError: raised by the work.
            ShardFailed: several workers died while they processed the same shard.
            ClusterFailed: the cluster cannot be reached, was lost, or starts no workers.
            MissingPackage: Ray is not installed.
        """
        ray = require_ray()
        settings = Settings(self.address, self.workers, self.use_gpus, self.patience, pickled(work))
        running: dict[int, Spec] = {}

        def sealed() -> Generator[Sealed, None, None]:
            for number, spec in enumerate(specs):
                running[number] = spec
                yield Sealed(number, str(spec), pickled(spec))

        results = (ray_results if ray.is_initialized() else driven_results)(settings, sealed(), self.say)
        with closing(results):
            for shard, result in results:
                yield running.pop(shard.number), pickle.loads(result)


def pickled(value: Any) -> bytes:
    """Work or a shard for workers. Functions and classes of the program that was started are sent with their code."""
    from ray import cloudpickle

    content: bytes = cloudpickle.dumps(value)
    return content
