"""Runners of shards, the order of results, and parts for independent processes."""

import random
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest

from vaekit.shards import IN_PROCESS, Work, run_in_order, strided


def started(log: list[str]) -> Callable[[], Callable[[int], int]]:
    def start() -> Callable[[int], int]:
        log.append("start")

        def process(spec: int) -> int:
            log.append(f"process {spec}")
            return spec * spec

        return process

    return start


class Shuffled:
    """Yields results in another order, in groups of four."""

    closed = False

    def run(self, work: Work[Any, Any], specs: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        process, order, every = work.start(), random.Random(0), list(specs)
        try:
            for start in range(0, len(every), 4):
                group = every[start : start + 4]
                order.shuffle(group)
                for spec in group:
                    yield spec, process(spec)
        finally:
            self.closed = True


def test_this_process_starts_once_and_takes_one_shard_after_the_other() -> None:
    log: list[str] = []

    def specs() -> Iterator[int]:
        for spec in range(2):
            log.append(f"take {spec}")
            yield spec

    assert list(IN_PROCESS.run(Work(started(log)), specs())) == [(0, 0), (1, 1)]
    assert log == ["take 0", "start", "process 0", "take 1", "process 1"]


def test_nothing_is_started_without_shards() -> None:
    log: list[str] = []
    assert list(IN_PROCESS.run(Work(started(log)), [])) == []
    assert log == []


@pytest.mark.parametrize("runner", [IN_PROCESS, Shuffled()])
def test_results_are_in_the_order_of_shards(runner: Any) -> None:
    assert list(run_in_order(runner, Work(started([])), iter(range(13)))) == [(spec, spec**2) for spec in range(13)]


def test_equal_shards_are_told_apart() -> None:
    assert [spec for spec, _ in run_in_order(Shuffled(), Work(started([])), [3, 3, 1, 3, 1])] == [3, 3, 1, 3, 1]


def test_a_runner_ends_with_the_loop() -> None:
    runner = Shuffled()
    with closing(run_in_order(runner, Work(started([])), range(9))) as results:
        next(results)
        assert not runner.closed
    assert runner.closed


@pytest.mark.parametrize("of", [1, 2, 3, 7, 12])
def test_parts_are_disjoint_and_complete(of: int) -> None:
    parts = [strided(range(10), rank, of) for rank in range(of)]
    assert sorted(spec for part in parts for spec in part) == list(range(10))
