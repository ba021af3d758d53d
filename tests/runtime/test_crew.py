"""Parts of a stage run on threads that end with it, in any process."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from vaekit.runtime import threads as crew
from vaekit.runtime.threads import run_parallel, wait_for_all, workers

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
    assert crew.threads_per_part(0) >= 1
