"""New threads run torch on one core, for as long as they are asked to."""

import threading
from collections.abc import Iterator

import pytest
import torch

from vaekit.runtime.threads import single_threaded_initializer


def in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def three_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_this_thread_keeps_its_cores_and_new_ones_take_one(three_cores: None) -> None:
    with single_threaded_initializer():
        assert (torch.get_num_threads(), in_a_new_thread()) == (3, 1)
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)


def fail() -> None:
    with single_threaded_initializer():
        raise KeyboardInterrupt


def test_all_is_as_before_after_an_error(three_cores: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)
