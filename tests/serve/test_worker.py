"""Batches of equal work, a bounded queue, and failures that stay with their job."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vaekit.serve.engines import Engines
from vaekit.serve.metrics import Metrics
from vaekit.serve.refusals import Refusal
from vaekit.serve.settings import Limits
from vaekit.serve.work import Alone
from vaekit.serve.worker import DeviceWorker
from vaekit.tasks.options import EngineOptions


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers, in batches; a negative one makes its batch fail."""

    name: str
    at_once: int = 4
    seen: list[list[int]] = field(default_factory=list, compare=False)
    direction: str = "task"

    def most(self, engines: Engines) -> int:
        return self.at_once

    def run(self, engines: Engines, jobs: Sequence[int]) -> Sequence[int]:
        self.seen.append(list(jobs))
        if min(jobs) < 0:
            raise ValueError(f"{min(jobs)}")
        return [2 * job for job in jobs]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def worker(metrics: Metrics) -> Iterator[DeviceWorker]:
    made = DeviceWorker(Engines(EngineOptions(device="cpu"), 1), Limits(waiting=8, patience=0.0), metrics)
    yield made
    made.close()


@pytest.fixture
def gate(worker: DeviceWorker) -> Iterator[threading.Event]:
    """Keeps the worker busy until it is set."""
    opened, running = threading.Event(), threading.Event()

    def wait(_engines: Engines) -> None:
        running.set()
        assert opened.wait(10)

    worker.submit(Alone(wait), None)
    assert running.wait(10)
    yield opened
    opened.set()


def test_jobs_of_one_group_run_at_once(worker: DeviceWorker, gate: threading.Event, metrics: Metrics) -> None:
    one, other = Doubling("a"), Doubling("b")
    futures = [worker.submit(one, 1), worker.submit(other, 10), worker.submit(one, 2), worker.submit(one, 3)]
    gate.set()
    assert [future.result(10) for future in futures] == [2, 20, 4, 6]
    assert one.seen == [[1, 2, 3]] and other.seen == [[10]]
    assert b'vaekit_batch_items_bucket{direction="task",le="2.0"} 2.0' in metrics.text()[0]


def test_a_batch_has_no_more_items_than_fit(worker: DeviceWorker, gate: threading.Event) -> None:
    group = Doubling("a", at_once=5)
    futures = [worker.submit(group, number, items=2) for number in range(4)]
    gate.set()
    assert [future.result(10) for future in futures] == [0, 2, 4, 6]
    assert group.seen == [[0, 1], [2, 3]]


def test_a_job_that_fails_fails_alone(worker: DeviceWorker, gate: threading.Event) -> None:
    group = Doubling("a")
    futures: list[Any] = [worker.submit(group, number) for number in (1, -7, 3)]
    gate.set()
    assert futures[0].result(10) == 2 and futures[2].result(10) == 6
    with pytest.raises(ValueError, match="-7"):
        futures[1].result(10)
    assert group.seen == [[1, -7, 3], [1], [-7], [3]]


def test_a_full_queue_refuses(worker: DeviceWorker, gate: threading.Event) -> None:
    futures = [worker.submit(Doubling("a"), number) for number in range(8)]
    with pytest.raises(Refusal) as refused:
        worker.submit(Doubling("a"), 9)
    assert refused.value.status == 503 and int(refused.value.headers["Retry-After"]) >= 1
    gate.set()
    assert [future.result(10) for future in futures] == [2 * number for number in range(8)]


def test_a_cancelled_job_leaves_the_queue(worker: DeviceWorker, gate: threading.Event) -> None:
    group = Doubling("a")
    kept, left = worker.submit(group, 1), worker.submit(group, 2)
    assert worker.waiting == 2
    assert left.cancel()
    assert worker.waiting == 1
    gate.set()
    assert kept.result(10) == 2
    assert group.seen == [[1]]


def test_a_vae_that_cannot_be_loaded_fails_its_job_only(worker: DeviceWorker) -> None:
    class Broken(Doubling):
        def most(self, engines: Engines) -> int:
            raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        worker.submit(Broken("a"), 1).result(10)
    assert worker.submit(Doubling("a"), 1).result(10) == 2


def test_the_first_job_waits_for_others_where_batches_help(metrics: Metrics) -> None:
    worker = DeviceWorker(Engines(EngineOptions(device="cpu"), 1), Limits(patience=2.0), metrics)
    try:
        group, started = Doubling("a", at_once=2), time.monotonic()
        first = worker.submit(group, 1)
        time.sleep(0.05)
        second = worker.submit(group, 2)
        assert first.result(10) == 2 and second.result(10) == 4
        assert group.seen == [[1, 2]]
        assert time.monotonic() - started < 1.5, "a batch that is full starts at once"
        alone = Doubling("b", at_once=1)
        assert worker.submit(alone, 5).result(1.5) == 10, "nothing waits where items run one by one"
    finally:
        worker.close()


def test_closing_cancels_what_waits_and_finishes_what_runs(metrics: Metrics) -> None:
    worker = DeviceWorker(Engines(EngineOptions(device="cpu"), 1), Limits(), metrics)
    running = threading.Event()

    def slow(_engines: Engines) -> str:
        running.set()
        time.sleep(0.1)
        return "done"

    first = worker.submit(Alone(slow), None)
    assert running.wait(10)
    second = worker.submit(Doubling("a"), 1)
    worker.close()
    assert first.result(0) == "done" and second.cancelled()
