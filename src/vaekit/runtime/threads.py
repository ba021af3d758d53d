"""Limit the threads of torch's operations for each thread of this process."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from functools import lru_cache

import torch


@contextmanager
def single_threaded_initializer() -> Iterator[None]:
    """Threads that first use torch inside the block run its operations on one core; the calling thread is not changed.

    Otherwise, each thread beside the one that runs a network would get a thread pool with all cores, and the pools
    would wait for each other.
    """
    before = torch.get_num_threads()  # also initializes the setting of this thread before the default changes
    # set_num_threads sets the value of the calling thread and the default of new ones (ATen/ParallelOpenMP.cpp).
    setter = threading.Thread(target=torch.set_num_threads, args=(1,))
    setter.start()
    setter.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_parallel(tasks: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run tasks in parallel, each on one thread with an equal share of torch's threads; a single one in the calling
    thread.

    Args:
        tasks: the functions to call.
        stop: set when a task fails or the caller is interrupted. The others must check it; they are waited for.
    """
    if len(tasks) <= 1:
        for task in tasks:
            task()
        return
    own, threads = torch.get_num_threads(), threads_per_part(len(tasks))
    inference = torch.is_inference_mode_enabled()
    futures: list[Future[None]] = []
    try:
        futures.extend(workers().submit(single_part, task, threads, inference) for task in tasks)
        for future in as_completed(futures):
            future.result()
    except BaseException:
        stop.set()
        wait_for_all(futures)
        raise
    finally:
        torch.set_num_threads(own)  # workers also changed the default of new threads


def threads_per_part(parts: int) -> int:
    """The number of torch's threads for each of `parts` parallel parts."""
    return max(1, torch.get_num_threads() // max(1, parts))


def single_part(task: Callable[[], None], threads: int, inference: bool) -> None:
    """Run a task in this thread with the caller's settings, which threads do not inherit."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    with torch.inference_mode() if inference else torch.no_grad():
        task()


def wait_for_all(futures: Sequence[Future[None]]) -> None:
    """Wait despite interrupts: afterwards the caller frees the memory and the file that the tasks use."""
    while True:
        try:
            wait(futures)
            return
        except KeyboardInterrupt:  # a further interrupt; the caller raises the first
            continue


def workers() -> ThreadPoolExecutor:
    """The thread pool of the process; threads are started on demand."""
    return pool_of(os.getpid())


@lru_cache(maxsize=1)
def pool_of(_process: int) -> ThreadPoolExecutor:
    """The pool of a process: a forked process would inherit its parent's pool without the threads."""
    return ThreadPoolExecutor(os.cpu_count() or 1, "vaekit")
