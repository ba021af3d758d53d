"""Workers of a Ray cluster, and the results of shards that they process."""

import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from vaekit.cluster.connection import Head, connected
from vaekit.cluster.dispatch import Answer, Call, Dispatcher, WorkerDied
from vaekit.cluster.messages import Sealed, Settings
from vaekit.cluster.shares import Machine, Share, share_of
from vaekit.cluster.worker import Worker
from vaekit.errors import ClusterFailed, counted, printable
from vaekit.version import __version__

POLL = 2.0
"""Seconds between two checks of whether the cluster is still there."""


def never() -> bool:
    """The answer if nobody can abandon a run."""
    return False


def ray_results(
    settings: Settings,
    specs: Iterable[Sealed],
    say: Callable[[str], None],
    abandoned: Callable[[], bool] = never,
) -> Generator[tuple[Sealed, bytes], None, None]:
    """The pickled results of shards as they are done, in any order, each once.

    Args:
        settings: of the run.
        specs: the shards. Taken one by one.
        say: called with a sentence when a worker died.
        abandoned: whether nobody wants further shards; those that workers have are finished.

    Raises:
        VaekitError: raised by the work.
        ShardFailed: several workers died while they processed the same shard.
        ClusterFailed: the cluster cannot be reached, was lost, or starts no workers.
        MissingPackage: Ray is not installed.
    """
    with connected(settings.address, settings.workers) as (ray, head):
        share = share_of(machines(ray), settings.workers, settings.use_gpus)
        workers = RayWorkers(ray, head, share, settings.work, settings.patience)
        dispatcher = Dispatcher(workers, share.workers, specs, say, abandoned)
        try:
            yield from dispatcher.run()
        except ray.exceptions.RayTaskError:  # a bug; it also is an instance of the class of its cause
            raise
        except ray.exceptions.RayError as error:
            raise ClusterFailed(
                f"Ray failed: {printable(str(error), 300)}.", "", "Run the same command again: it goes on."
            ) from error
        finally:
            dispatcher.stop()


def machines(ray: ModuleType) -> list[Machine]:
    """The machines of a cluster."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Machine(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in resources]


@dataclass
class RayWorkers:
    """Actors, for a `Dispatcher`."""

    ray: ModuleType
    head: Head
    share: Share
    work: bytes
    patience: float
    _starting: set[Call] = field(default_factory=set)
    _last_sign: float = field(default_factory=time.monotonic)
    """When a call was done, or one of a worker that has started was running."""

    def start(self) -> tuple[Any, Call]:
        """Start an actor. Ray would restart it itself, but with all of its calls, of which only one has begun."""
        self.head.wait()  # without the head, Ray would block
        actor_class = self.ray.remote(Worker)
        placed = actor_class.options(
            num_cpus=self.share.cpus, num_gpus=self.share.gpus, max_restarts=0, max_task_retries=0
        )
        worker = placed.remote()
        call = worker.start.remote(self.work, __version__)
        self._starting.add(call)
        return worker, call

    def process(self, worker: Any, spec: Sealed) -> Call:
        """Let an actor process a shard."""
        return worker.process.remote(spec.content)

    def wait(self, calls: Iterable[Call]) -> list[Call]:
        """The calls that are done, or whose actor died; none after a few seconds."""
        running = list(calls)
        done, _ = self.ray.wait(running, num_returns=1, timeout=POLL)
        if done or not self._starting.issuperset(running):
            self._last_sign = time.monotonic()
        if not done:
            self.head.check()
            self._check_patience()
        return list(done)

    def _check_patience(self) -> None:
        """Give up if no worker could be started for long.

        Raises:
            ClusterFailed: so it is.
        """
        if time.monotonic() - self._last_sign > self.patience:
            share = self.share
            wanted = counted(share.cpus, "CPU") + (f" and {share.gpus:g} GPU" if share.gpus else "")
            raise ClusterFailed(
                f"No worker could be started for {self.patience / 60:.3g} minutes.",
                f"Each worker needs {wanted} that no other program of the cluster has reserved.",
                "Look at `ray status`, or give fewer --workers.",
            )

    def answer(self, call: Call) -> Answer:
        """The answer of a call that is done.

        Raises:
            WorkerDied: the actor or its machine did, or the answer was lost with it.
        """
        errors = self.ray.exceptions
        self._starting.discard(call)
        try:
            answer: Answer = self.ray.get(call)
        except errors.RayTaskError:
            raise
        except errors.RayError as error:
            raise WorkerDied(reason_of_death(error)) from error
        return answer

    def stop(self, worker: Any) -> None:
        """Kill an actor."""
        if not self.head.is_lost:
            with suppress(Exception):  # it is dead already
                self.ray.kill(worker)


def reason_of_death(error: Exception) -> str:
    """Why an actor died, as a phrase: Ray's messages have many lines."""
    text = str(error)
    missing = re.search(r"No module named '([\w.]+)'", text)
    if missing:
        return f"{missing[1]} is not installed where it ran"
    if "OUT_OF_MEMORY" in text or "OutOfMemory" in type(error).__name__:
        return "its machine ran out of memory"
    if "node" in text and ("has died" in text or "is dead" in text or "was terminated" in text):
        return "its machine is gone"
    if "process has died" in text:
        return "its process crashed or was killed, for example for want of memory"
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), type(error).__name__)
