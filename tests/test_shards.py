"""Runners of shards, the order of results, and parts for independent processes."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vaekit import shards
from vaekit.shards import IN_PROCESS, Work, claimed, run_in_order, strided


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


HOLD = "import sys, time; from pathlib import Path; from vaekit.shards import claimed; c = claimed(Path(sys.argv[1]))"
HOLD += "; c.__enter__(); print(flush=True); time.sleep(60)"


def test_a_claim_is_awaited_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline()
    entered = threading.Event()

    def enter() -> None:
        with claimed(path):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    try:
        assert not entered.wait(0.3)
    finally:
        holder.kill()
        holder.communicate()
        waiting.join(20)
    assert entered.is_set() and not path.exists()


def test_a_claim_stays_after_an_error_so_that_those_who_wait_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claimed(tmp_path / "a"):
        raise KeyError
    assert (tmp_path / "a").exists()
    with claimed(tmp_path / "a"), claimed(tmp_path / "b"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cause", ["no locks", "no folder", "no module"])
def test_where_nothing_can_be_locked_work_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    def flock(*_: object) -> None:
        raise OSError("Function not implemented")

    path = tmp_path / "a"
    if cause == "no locks":
        monkeypatch.setattr("fcntl.flock", flock)
    elif cause == "no module":
        monkeypatch.setattr(shards, "HAS_LOCKS", False)
    else:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "a"
    with claimed(path):
        pass
