"""What becomes of shards when workers die: with workers that exist in the test only, and die as it wishes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from vaekit.cluster.dispatch import DEATHS, Answer, Call, Dispatcher, WorkerDied
from vaekit.errors import BadItem, ClusterFailed, ShardFailed


@dataclass
class Pretended:
    """Workers that finish calls in a random order."""

    dies: Callable[[Any], bool] = lambda _: False
    """Whether a worker dies during a shard; of None, during its start."""
    fails: Callable[[Any], bool] = lambda _: False
    random: Random = field(default_factory=lambda: Random(0))
    begun: Counter[Any] = field(default_factory=Counter)
    running: dict[int, tuple[int, Any]] = field(default_factory=dict)
    alive: set[int] = field(default_factory=set)
    calls: int = 0
    most_at_once: int = 0

    def start(self) -> tuple[int, Call]:
        self.calls += 1
        self.alive.add(self.calls)
        return self.calls, self.call(self.calls, None)

    def call(self, worker: int, spec: Any) -> int:
        assert worker in self.alive and worker not in {each for each, _ in self.running.values()}
        self.calls += 1
        self.running[self.calls] = worker, spec
        self.most_at_once = max(self.most_at_once, len(self.running))
        return self.calls

    def process(self, worker: int, spec: Any) -> int:
        self.begun[spec] += 1
        return self.call(worker, spec)

    def wait(self, calls: Iterable[int]) -> list[int]:
        calls = list(calls)
        assert set(calls) <= set(self.running)
        return self.random.sample(calls, self.random.randint(0, len(calls)))

    def answer(self, call: int) -> Answer:
        worker, spec = self.running.pop(call)
        if self.dies(spec):
            self.alive.discard(worker)
            raise WorkerDied("it was killed")
        if spec is not None and self.fails(spec):
            return Answer(error=BadItem(f"{spec} is damaged.", "", ""))
        return Answer(None if spec is None else spec * 2)

    def stop(self, worker: int) -> None:
        self.alive.discard(worker)


def results(workers: Pretended, count: int, specs: Iterable[int], said: list[str] | None = None) -> list[Any]:
    dispatcher = Dispatcher(workers, count, specs, [].append if said is None else said.append)
    try:
        return list(dispatcher.run())
    finally:
        dispatcher.stop()
        assert not workers.alive


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_shard_is_processed_once(count: int) -> None:
    workers = Pretended()
    assert sorted(results(workers, count, range(50))) == [(spec, 2 * spec) for spec in range(50)]
    assert set(workers.begun.values()) == {1} and workers.most_at_once == count


@pytest.mark.parametrize("seed", range(20))
def test_after_deaths_nothing_is_lost_or_repeated_in_vain(seed: int) -> None:
    """Each death costs the shard that the worker had."""
    chance, deaths = Random(seed), Counter[Any]()

    def dies(spec: Any) -> bool:
        if deaths[spec] == DEATHS - 1 or chance.random() > 0.2:
            return False
        deaths[spec] += 1
        return True

    workers, said = Pretended(dies, random=Random(seed)), list[str]()
    assert sorted(results(workers, 3, range(60), said)) == [(spec, 2 * spec) for spec in range(60)]
    assert deaths.total() > 5 and len(said) == deaths.total()
    assert all(workers.begun[spec] == 1 + deaths[spec] for spec in range(60))


def test_a_shard_that_kills_its_workers_is_named() -> None:
    workers = Pretended(dies=lambda spec: spec == 7)
    with pytest.raises(ShardFailed, match="processed 7") as raised:
        results(workers, 2, range(20))
    assert "it was killed" in raised.value.found and workers.begun[7] == DEATHS


def test_workers_that_die_at_their_start_are_not_started_for_ever() -> None:
    workers = Pretended(dies=lambda spec: spec is None)
    with pytest.raises(ClusterFailed):
        results(workers, 2, range(20))
    assert not workers.begun


def test_what_the_work_raises_is_raised_and_not_repeated() -> None:
    workers = Pretended(fails=lambda spec: spec == 3)
    with pytest.raises(BadItem, match="3 is damaged"):
        results(workers, 2, range(20))
    assert workers.begun[3] == 1


def test_no_worker_is_started_without_shards_and_no_more_than_shards() -> None:
    workers = Pretended()
    assert results(workers, 4, []) == [] and workers.calls == 0
    assert len(results(workers, 4, range(2))) == 2 and workers.most_at_once == 2


def test_shards_are_taken_as_workers_need_them() -> None:
    taken: list[int] = []

    def specs() -> Iterable[int]:
        for spec in range(100):
            taken.append(spec)
            yield spec

    dispatcher = Dispatcher(Pretended(), 2, specs(), [].append)
    running = dispatcher.run()
    next(running)
    assert len(taken) <= 6
    running.close()
    dispatcher.stop()


def test_an_abandoned_run_finishes_the_shards_that_workers_have_and_begins_no_other() -> None:
    abandoned, died = [False], list[Any]()

    def dies(spec: Any) -> bool:  # the worker of the first shard after that
        if abandoned[0] and spec is not None and not died:
            died.append(spec)
        return spec is not None and spec in died

    workers = Pretended(dies)
    dispatcher = Dispatcher(workers, 3, range(100), [].append, lambda: abandoned[0])
    running = dispatcher.run()
    done = [next(running)[0] for _ in range(5)]
    abandoned[0] = True
    begun = set(workers.begun)
    done += [spec for spec, _ in running]
    dispatcher.stop()
    assert len(died) == 1 and set(workers.begun) == begun and set(workers.begun.values()) == {1}
    assert set(done) == begun - set(died) and not workers.alive


def test_a_run_that_is_abandoned_before_it_has_workers_begins_nothing() -> None:
    workers = Pretended()
    assert list(Dispatcher(workers, 3, range(100), [].append, lambda: True).run()) == []
    assert not workers.begun
