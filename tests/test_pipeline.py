"""Steps that overlap: the same results as one after the other, in order, and nothing that hangs or piles up."""

import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.pipeline import Outcome, Stages, run_pipeline

WAIT = 20.0
"""Seconds after which a test gives up; nothing takes nearly as long."""


class Forgiven(Exception):
    pass


def arithmetic(slow: Callable[[], None] = lambda: None) -> Stages[int, int, int, int]:
    def read(item: int) -> int:
        slow()
        return item + 1

    def run(item: int, value: int) -> int:
        slow()
        return value * 10 + item

    def write(item: int, value: int) -> int:
        slow()
        return value - item

    return Stages(read, run, write)


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("vaekit")]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    before = set(helpers())
    yield
    assert set(helpers()) <= before


@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_results_are_those_of_one_by_one_in_order(count: int, threads: int, seed: int) -> None:
    random = Random(seed)
    steps = arithmetic(lambda: time.sleep(random.random() / 2000))
    outcomes = list(run_pipeline(range(count), steps, Forgiven, threads=threads))
    assert outcomes == [Outcome(item, arithmetic()(item), None) for item in range(count)]


def test_the_next_is_read_and_the_last_is_written_while_one_runs() -> None:
    met = {(step, item): threading.Event() for step in ("read", "run", "write") for item in range(4)}

    def read(item: int) -> int:
        met["read", item].set()
        return item

    def run(item: int, value: int) -> int:
        met["run", item].set()
        assert item == 3 or met["read", item + 1].wait(WAIT)
        assert item == 0 or met["write", item - 1].wait(WAIT)
        return value

    def write(item: int, value: int) -> int:
        met["write", item].set()
        assert item == 3 or met["run", item + 1].wait(WAIT)
        return value

    assert [outcome.done for outcome in run_pipeline(range(4), Stages(read, run, write), Forgiven)] == [0, 1, 2, 3]


def test_things_run_here_one_at_a_time_and_are_read_and_written_elsewhere() -> None:
    places: dict[str, set[threading.Thread]] = {"read": set(), "run": set(), "write": set()}
    running = threading.Lock()

    def at(step: str) -> None:
        places[step].add(threading.current_thread())

    def run(item: int, value: int) -> int:
        assert running.acquire(blocking=False)
        time.sleep(0.001)
        running.release()
        return at("run") or value

    steps = Stages(lambda item: at("read") or item, run, lambda _, value: at("write") or value)
    assert len(list(run_pipeline(range(20), steps, Forgiven, threads=3))) == 20
    assert places["run"] == {threading.current_thread()}
    assert threading.current_thread() not in places["read"] | places["write"]
    assert len(places["read"] | places["write"]) <= 3


class Counted:
    """Items between the start of reading and the end of writing."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def add(self, amount: int) -> None:
        with self.lock:
            self.now += amount
            self.most = max(self.most, self.now)

    def steps(self, weight: Callable[[int], float], slow: str) -> Stages[int, int, int, int]:
        def read(item: int) -> int:
            self.add(1)
            time.sleep(0.005 * (slow == "read"))
            return item

        def run(item: int, value: int) -> int:
            time.sleep(0.005 * (slow == "run"))
            return value

        def write(item: int, value: int) -> int:
            time.sleep(0.005 * (slow == "write"))
            self.add(-1)
            return value

        return Stages(read, run, write, weight)


@pytest.mark.parametrize("slow", ["read", "run", "write"])
@pytest.mark.parametrize(("weight", "most"), [(0, 5), (1, 5), (2, 5), (3, 3), (4, 2), (5.5, 1), (11, 1), (1000, 1)])
def test_never_more_under_way_than_there_is_room_for(slow: str, weight: float, most: int) -> None:
    counted = Counted()
    outcomes = list(run_pipeline(range(12), counted.steps(lambda _: weight, slow), Forgiven, max_weight=10, threads=2))
    assert [outcome.done for outcome in outcomes] == list(range(12))
    assert counted.most <= most


def test_heavy_things_between_light_ones_end_the_crowd() -> None:
    counted = Counted()
    steps = counted.steps(lambda value: 10.0 if 10 <= value < 20 else 0.1, "run")
    crowd = []
    for outcome in run_pipeline(range(30), steps, Forgiven, max_weight=10, threads=2):
        with counted.lock:
            crowd.append(counted.now)
        assert outcome.error is None
    assert max(crowd[15:19]) <= 1
    assert max(crowd[:8]) > 1 and max(crowd[22:28]) > 1


class Thing:
    """Something that can be seen to be gone."""


def test_what_is_done_with_is_let_go() -> None:
    alive: list[weakref.ref[Thing]] = []

    def made() -> Thing:
        thing = Thing()
        alive.append(weakref.ref(thing))
        return thing

    steps: Stages[int, Thing, Thing, int] = Stages(lambda _: made(), lambda *_: made(), lambda item, _: item)
    for _ in run_pipeline(range(50), steps, Forgiven, threads=1):
        assert sum(reference() is not None for reference in list(alive)) <= 2 * 3
    assert len(alive) == 100
    assert not any(reference() is not None for reference in alive)


@pytest.mark.parametrize("step", ["read", "run", "write"])
def test_forgiven_errors_are_outcomes_and_the_others_go_on(step: str) -> None:
    outcomes = list(run_pipeline(range(12), broken_at({3, 4, 11}, step, Forgiven), Forgiven))
    assert [outcome.item for outcome in outcomes] == list(range(12))
    assert [outcome.item for outcome in outcomes if isinstance(outcome.error, Forgiven)] == [3, 4, 11]
    assert [outcome.done for outcome in outcomes if outcome.error is None] == [0, 1, 2, 5, 6, 7, 8, 9, 10]


def broken_at(items: set[int], step: str, error: type[BaseException]) -> Stages[int, int, int, int]:
    def at(name: str) -> Callable[..., int]:
        def work(item: int, *_: int) -> int:
            if name == step and item in items:
                raise error(f"in {name} of {item}")
            return item

        return work

    return Stages(at("read"), at("run"), at("write"))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("step", ["read", "run", "write"])
def test_any_other_error_ends_it_at_once(step: str, error: type[BaseException]) -> None:
    begun: list[int] = []
    done: list[int] = []

    def items() -> Any:
        for item in range(10_000):
            begun.append(item)
            yield item

    def all_of_them() -> None:
        with closing(run_pipeline(items(), broken_at({5}, step, error), Forgiven, threads=2)) as outcomes:
            done.extend(outcome.item for outcome in outcomes)

    with pytest.raises(error, match=f"in {step} of 5"):
        all_of_them()
    assert begun[-1] < 5 + 2 * 5
    assert done == list(range(len(done))) and len(done) <= 5


def test_who_breaks_off_waits_only_for_what_is_in_hand() -> None:
    started, written = [], []

    def read(item: int) -> int:
        started.append(item)
        return item

    def write(item: int, value: int) -> int:
        time.sleep(0.05)
        written.append(item)
        return item

    with closing(
        run_pipeline(range(1000), Stages(read, lambda _, value: value, write), Forgiven, threads=2)
    ) as outcomes:
        next(outcomes)
        at_once = time.monotonic()
    assert time.monotonic() - at_once < 0.5
    assert len(started) < 12 and len(written) <= 5


def test_nothing_to_do() -> None:
    assert list(run_pipeline([], arithmetic(), Forgiven)) == []


INTERRUPTED = """
import sys, time
from pathlib import Path
from vaekit.pipeline import Stages, run_pipeline
from vaekit.atomic import atomic_file

def write(item, value):
    with atomic_file(Path(sys.argv[1]) / f"{item}.txt") as part:
        part.write_text("half")
        time.sleep(0.02)
        part.write_text("whole")
    return item

def run(item, value):
    time.sleep(0.01)
    return value

for outcome in run_pipeline(range(100_000), Stages(lambda item: item, run, write), ValueError):
    print(outcome.item, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_the_program_and_leaves_whole_files(tmp_path: Path) -> None:
    call = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for _ in range(5):
            program.stdout.readline()
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=WAIT)
    assert program.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    files = list(tmp_path.iterdir())
    assert len(files) >= 5
    assert {path.suffix for path in files} == {".txt"}
    assert {path.read_text() for path in files} == {"whole"}
