"""Threads of torch in new threads, and works that run side by side."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from vaekit.runtime.threads import (
    run_parallel,
    single_part,
    single_threaded_initializer,
    threads_per_part,
    wait_for_all,
    workers,
)

SECONDS = 60

FORKED = """
import os, threading
from vaekit.runtime.threads import run_parallel, workers

def both(done):
    run_parallel([lambda: done.append(threading.current_thread().name) for _ in range(2)], threading.Event())

before = []
both(before)
child = os.fork()
if child == 0:
    done = []
    both(done)
    os._exit(0 if len(done) == 2 else 1)
_, status = os.waitpid(child, 0)
pool = workers()
both(before)
print(status, len(before), workers() is pool)
"""

IMPORTED = """
import os, concurrent.futures.thread, torch
calls = []
os.register_at_fork = lambda **hooks: calls.append(hooks)
import vaekit.runtime.engine
print(calls)
"""


def interrupt() -> None:
    """What a person's Ctrl-C does to the thread that waits for the others."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.split() == ["0", "4", "True"]


def test_a_process_keeps_its_threads() -> None:
    assert workers() is workers()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_importing_it_registers_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_of_one_part_stops_the_others_before_it_is_raised() -> None:
    stop, ended = threading.Event(), list[bool]()

    def fails() -> None:
        raise ValueError("one part")

    def goes_on() -> None:
        ended.append(stop.wait(SECONDS))

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="one part"):
        run_parallel([goes_on, fails], stop)
    assert ended == [True]
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot signal one thread")
def test_no_part_goes_on_after_a_second_interrupt() -> None:
    stop, running, ended = threading.Event(), threading.Event(), list[bool]()

    def part() -> None:
        running.set()
        stop.wait(SECONDS)
        time.sleep(0.5)  # until the caller waits for this part
        interrupt()
        time.sleep(0.2)
        ended.append(True)

    def interrupts() -> None:
        running.wait(SECONDS)
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        run_parallel([part, interrupts], stop)
    assert ended == [True]


def test_waiting_for_nothing_ends() -> None:
    wait_for_all([])


# How many of torch's threads each work has


def in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_this_thread_keeps_its_threads_and_new_ones_take_one(three_threads: None) -> None:
    with single_threaded_initializer():
        assert (torch.get_num_threads(), in_a_new_thread()) == (3, 1)
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)


def fail() -> None:
    with single_threaded_initializer():
        raise KeyboardInterrupt


def test_new_threads_are_as_before_after_an_error(three_threads: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)


@pytest.mark.parametrize(("parts", "each"), [(0, 3), (1, 3), (2, 1), (3, 1), (9, 1)])
def test_threads_are_shared_equally_and_each_part_has_one(three_threads: None, parts: int, each: int) -> None:
    assert threads_per_part(parts) == each


def test_works_run_side_by_side_on_threads_of_their_own() -> None:
    both, names = threading.Barrier(2), list[str]()

    def work() -> None:
        both.wait(SECONDS)  # neither goes on before the other has begun
        names.append(threading.current_thread().name)

    run_parallel([work, work], threading.Event())
    assert len(set(names)) == 2 and threading.current_thread().name not in names


def test_a_single_work_is_done_on_the_thread_of_its_caller(three_threads: None) -> None:
    found: list[tuple[threading.Thread, int]] = []
    run_parallel([lambda: found.append((threading.current_thread(), torch.get_num_threads()))], threading.Event())
    assert found == [(threading.current_thread(), 3)]
    run_parallel([], threading.Event())


def test_works_have_their_share_of_threads_and_the_caller_has_its_own_again(three_threads: None) -> None:
    found: list[int] = []
    run_parallel([lambda: found.append(torch.get_num_threads())] * 2, threading.Event())
    assert found == [1, 1]
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
    torch.set_num_threads(4)
    run_parallel([lambda: found.append(torch.get_num_threads())] * 2, threading.Event())
    assert found[2:] == [2, 2]
    assert (torch.get_num_threads(), in_a_new_thread()) == (4, 4)


@pytest.mark.parametrize("inference", [True, False])
def test_works_record_no_gradients_and_know_inference_mode(inference: bool) -> None:
    found: list[tuple[bool, bool]] = []

    def work() -> None:
        found.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))

    with torch.inference_mode() if inference else torch.enable_grad():
        run_parallel([work, work], threading.Event())
        assert torch.is_grad_enabled() is not inference
    assert found == [(False, inference)] * 2


def test_stop_is_not_set_where_all_goes_well() -> None:
    stop = threading.Event()
    run_parallel([lambda: None] * 3, stop)
    assert not stop.is_set()


def test_one_part_sets_the_threads_that_it_is_given(three_threads: None) -> None:
    found: list[int] = []
    thread = threading.Thread(target=single_part, args=(lambda: found.append(torch.get_num_threads()), 2, False))
    thread.start()
    thread.join()
    assert found == [2]
