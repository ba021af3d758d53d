"""A buffer is used again when its lease was returned, and at no other time."""

import os
import threading

import pytest
import torch
from torch import Tensor

from vaekit.runtime.streaming.arena import Arena, Lease

CPU = torch.device("cpu")
PAGES = (4096,)
"""Elements of fp32 that are worth a buffer."""
SMALL = (3,)
"""Elements that torch's allocator takes care of."""


def fail_with(lease: Lease) -> None:
    with lease:
        raise ValueError


def test_a_buffer_is_used_again_after_its_lease_was_returned() -> None:
    arena = Arena(CPU)
    first = arena.lease(PAGES, torch.float32)
    place = first.tensor.data_ptr()
    second = arena.lease(PAGES, torch.float32)
    assert second.tensor.data_ptr() != place
    first.release()
    assert arena.lease(PAGES, torch.float32).tensor.data_ptr() == place
    assert arena.allocated == 2 * 4 * 4096


def test_references_do_not_matter() -> None:
    arena = Arena(CPU)
    lease = arena.lease(PAGES, torch.float32)
    view = lease.tensor[5:]
    lease.release()
    assert arena.lease(PAGES, torch.float32).tensor.data_ptr() == view.untyped_storage().data_ptr()
    place = arena.lease(PAGES, torch.float32).tensor.data_ptr()  # a lease that nobody has any more, not returned
    assert arena.lease(PAGES, torch.float32).tensor.data_ptr() != place


@pytest.mark.parametrize("shape", [PAGES, SMALL, (0,)])
def test_a_released_lease_has_no_tensor_and_is_not_released_again(shape: tuple[int, ...]) -> None:
    arena = Arena(CPU)
    with arena.lease(shape, torch.float16) as lease, arena.lease(shape, torch.float16) as other:
        assert lease.tensor.shape == shape and lease.tensor.dtype == torch.float16
        assert arena.outstanding == 2
        assert other.tensor is not lease.tensor
    assert arena.outstanding == 0
    with pytest.raises(RuntimeError, match="released"):
        _ = lease.tensor
    with pytest.raises(RuntimeError, match="released"):
        lease.release()
    assert arena.outstanding == 0


def test_a_lease_is_returned_after_an_error() -> None:
    arena = Arena(CPU)
    with pytest.raises(ValueError):
        fail_with(arena.lease(PAGES, torch.float32))
    assert arena.outstanding == 0


@pytest.mark.parametrize("shape", [PAGES, SMALL])
def test_it_knows_the_views_of_its_leases(shape: tuple[int, ...]) -> None:
    arena = Arena(CPU)
    lease = arena.lease(shape, torch.float32)
    tensor = lease.tensor
    views = [tensor, tensor[1:], tensor.view(-1, 1).mT, tensor.view(torch.int32), tensor.unbind()[2]]
    assert all(map(arena.holds, views))
    assert not any(map(arena.holds, [tensor.clone(), tensor + 1, torch.zeros(3), torch.zeros(0)]))
    lease.release()
    assert not any(map(arena.holds, views))


def test_a_buffer_that_is_much_too_large_is_not_used() -> None:
    arena = Arena(CPU, 3.0)
    lease = arena.lease((3 * 4096,), torch.uint8)
    place = lease.tensor.data_ptr()
    lease.release()
    with arena.lease((4095,), torch.uint8) as small, arena.lease((4096,), torch.uint8) as fits:
        assert small.tensor.data_ptr() != place
        assert fits.tensor.data_ptr() == place
    assert arena.allocated == 3 * 4096


def test_only_free_buffers_are_given_back() -> None:
    arena = Arena(CPU)
    leases = [arena.lease((size,), torch.uint8) for size in (4096, 8192, 20000)]
    for lease in leases[:2]:
        lease.release()
    arena.trim(25000)
    assert 20000 <= arena.allocated <= 25000
    arena.trim(0)
    assert arena.allocated == 20000
    arena.limit = 30000
    arena.lease((10000,), torch.uint8).release()
    arena.lease((5000,), torch.uint8)
    assert arena.allocated == 25000  # the free one had to go


def test_sizes_that_are_gone_are_forgotten() -> None:
    arena = Arena(CPU)
    kept = arena.lease((5000,), torch.uint8)
    for size in range(6000, 6100):
        arena.lease((size,), torch.float32).release()
        arena.trim(5000)
    assert list(arena._free) == [5000]
    kept.release()
    assert arena.lease((5000,), torch.uint8).tensor.shape == (5000,)


def test_a_buffer_first_used_in_inference_mode_is_written_outside_of_it() -> None:
    arena = Arena(CPU)
    with torch.inference_mode(), arena.lease(PAGES, torch.float32) as lease:
        lease.tensor.fill_(1)
    with torch.no_grad(), arena.lease(PAGES, torch.float32) as again:
        assert again.tensor.copy_(torch.zeros(PAGES)).sum() == 0


def test_several_threads_never_share_a_buffer() -> None:
    arena, wrong = Arena(CPU), list[Tensor]()

    def work(number: int) -> None:
        for turn in range(200):
            with arena.lease((1024 + 512 * (turn % 3),), torch.float32) as lease:
                lease.tensor.fill_(number)
                if not bool((lease.tensor == number).all()):
                    wrong.append(lease.tensor)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and arena.outstanding == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_writes_to_memory_of_its_own() -> None:
    arena = Arena(CPU)
    arena.lease(PAGES, torch.float32).release()
    child = os.fork()
    if child == 0:
        try:
            memoryview(arena._free[4 * 4096][0])[:4] = b"\1\1\1\1"
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    with arena.lease(PAGES, torch.float32) as lease:
        assert lease.tensor[0] == 0
