"""Limit torch's threads, per thread of this process."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import lru_cache

import torch


@contextmanager
def single_threaded_initializer() -> Iterator[None]:
    """Threads that first use torch inside the block run its operations on one core; this thread goes on as it was.

    Without it, each thread beside the one that runs a network gets a team of threads as large as the machine, and all
    the teams wait for each other.
    """
    before = torch.get_num_threads()  # asked here, so that this thread has its number settled before it changes
    # The number is the caller's own, and the default of threads that have none yet (ATen/ParallelOpenMP.cpp).
    setter = threading.Thread(target=torch.set_num_threads, args=(1,))
    setter.start()
    setter.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_parallel(works: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Do all of these, each on one thread with an equal share of torch's threads; a single one is done right here.

    Args:
        works: what is to be done.
        stop: set when one of them fails, or the caller is interrupted; the others are expected to look at it, and are
            waited for.
    """
    if len(works) <= 1:
        for work in works:
            work()
        return
    own, threads = torch.get_num_threads(), threads_per_part(len(works))
    inference = torch.is_inference_mode_enabled()
    futures: list[Future[None]] = []
    try:
        futures.extend(workers().submit(single_part, work, threads, inference) for work in works)
        for future in as_completed(futures):
            future.result()
    except BaseException:
        stop.set()
        wait_for_all(futures)
        raise
    finally:
        torch.set_num_threads(own)  # what a worker has set is the default of new threads, too


def threads_per_part(parts: int) -> int:
    """How many of torch's threads each of so many parts has."""
    return max(1, torch.get_num_threads() // max(1, parts))


def single_part(work: Callable[[], None], threads: int, inference: bool) -> None:
    """Work on this thread, which knows neither how many threads its caller allows nor that no gradient is wanted."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    with torch.inference_mode() if inference else torch.no_grad():
        work()


def wait_for_all(futures: Sequence[Future[None]]) -> None:
    """Wait, whatever interrupts it: the caller takes back the memory and the file that these use."""
    while True:
        try:
            wait(futures)
            return
        except KeyboardInterrupt:  # another one, of which the caller raises the first
            continue


def workers() -> ThreadPoolExecutor:
    """Threads for the whole process; they are started as they are needed."""
    return pool_of(os.getpid())


@lru_cache(maxsize=1)
def pool_of(_process: int) -> ThreadPoolExecutor:
    """The pool of a process: one that was forked inherits its parent's, but none of the threads in it."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "vaekit")
