"""One thread for each device: a bounded queue, and batches of equal work."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from vaekit.runtime.memory import trim_heap
from vaekit.serve.engines import Engines
from vaekit.serve.metrics import Metrics
from vaekit.serve.refusals import busy
from vaekit.serve.settings import Limits
from vaekit.serve.work import Group

log = logging.getLogger("vaekit.serve")
LONGEST_WAIT = 60
"""Seconds that a client is asked to wait at most."""
TRIM_SECONDS = 10
"""Between two returns of unused memory to the system."""
WEIGHT_OF_LAST = 0.2
"""Of the last batch in the running mean of seconds per job."""


@dataclass(eq=False)
class Job:
    """One request's work."""

    group: Group
    job: Any
    """What the group takes."""
    items: int
    future: "Future[Any]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class DeviceWorker:
    """Runs jobs in the order in which they came, together with later ones of the same group.

    A batch is as large as the engine of its VAE allows for its size. Where that is more than one, as on a GPU, the
    first job waits `patience` seconds for others; on a CPU the engine runs items one by one, and nothing waits. If a
    batch fails, its jobs run again one by one, so that only those fail that are at fault.

    Args:
        engines: the loaded VAEs.
        limits: the length of the queue, and the patience.
        metrics: counts batches and waiting times.
    """

    def __init__(self, engines: Engines, limits: Limits, metrics: Metrics) -> None:
        self.engines = engines
        self._limits, self._metrics = limits, metrics
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds = 0.0
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._work, name="vaekit-device", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs in the queue."""
        return len(self._jobs)

    def check_room(self) -> None:
        """Check that there is room in the queue.

        Raises:
            Refusal: there is none.
        """
        if len(self._jobs) >= self._limits.waiting:
            wait = min(LONGEST_WAIT, max(1, math.ceil(self._seconds * len(self._jobs))))
            raise busy(f"{len(self._jobs)} requests are waiting already.", wait)

    def submit(self, group: Group, job: Any, items: int = 1) -> "Future[Any]":
        """Queue a job. Its future can be cancelled until it runs.

        Args:
            group: what is done.
            job: with what.
            items: how many items of a batch it is.

        Raises:
            Refusal: the queue is full.
        """
        queued = Job(group, job, items)
        with self._changed:
            self.check_room()
            self._jobs.append(queued)
            self._changed.notify()
        queued.future.add_done_callback(lambda future: self._forget(queued) if future.cancelled() else None)
        return queued.future

    def close(self) -> None:
        """Cancel what is waiting, and wait for what is running."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            waiting = list(self._jobs)
        for job in waiting:
            job.future.cancel()
        self._thread.join()

    def _forget(self, job: Job) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        trimmed = time.monotonic()
        while (first := self._first()) is not None:
            try:
                most = first.group.most(self.engines)
            except Exception as error:  # for the client of this job: a VAE that cannot be loaded, memory that ran out
                first.future.set_exception(error)
                continue
            batch = self._batch(first, most)
            started = time.monotonic()
            self._run(batch)
            seconds = (time.monotonic() - started) / len(batch)
            self._seconds += WEIGHT_OF_LAST * (seconds - self._seconds)
            if started - trimmed > TRIM_SECONDS:  # images of many sizes leave gaps in the heap
                trim_heap()
                trimmed = started

    def _first(self) -> Job | None:
        """The next job, marked as running; None when the worker is closed."""
        with self._changed:
            while True:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return None
                job = self._jobs.popleft()
                if job.future.set_running_or_notify_cancel():
                    return job

    def _batch(self, first: Job, most: int) -> list[Job]:
        """A job and those of its group, up to a number of items."""
        batch, items = [first], first.items
        deadline = first.since + self._limits.patience
        with self._changed:
            while items < most and not self._closed:
                for job in [each for each in self._jobs if each.group == first.group]:
                    if items + job.items <= most:
                        self._jobs.remove(job)
                        if job.future.set_running_or_notify_cancel():
                            batch.append(job)
                            items += job.items
                left = deadline - time.monotonic()
                if left <= 0 or items >= most:
                    break
                self._changed.wait(left)
        return batch

    def _run(self, batch: Sequence[Job]) -> None:
        """Run a batch, and set the results."""
        now, group = time.monotonic(), batch[0].group
        try:
            results = group.run(self.engines, [job.job for job in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            log.warning("a batch of %d failed (%s); its jobs run one by one", len(batch), type(error).__name__)
            for job in batch:
                self._run([job])
            return
        self._metrics.batches.labels(group.direction).observe(sum(job.items for job in batch))
        for job, result in zip(batch, results, strict=True):
            self._metrics.waited.observe(max(0.0, now - job.since))
            job.future.set_result(result)
