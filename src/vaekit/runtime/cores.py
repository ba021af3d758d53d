"""How many cores torch takes, thread by thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_core_in_new_threads() -> Iterator[None]:
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
