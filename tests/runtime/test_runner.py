"""Which way a runner takes: whole or slab by slab, in which batches, and what it notes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from poisoned_arena import Ledger
from refusals import lacks, refuses
from row_interpreter import Net
from small_networks import CHANNELS, FACTOR, networks
from torch import Tensor, nn

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime import whole_runner
from vaekit.runtime.backends import TorchBackend
from vaekit.runtime.plan import Explanation, Plan
from vaekit.runtime.runner import OVERFLOWS, Runner, plane
from vaekit.runtime.streaming import slab_runner
from vaekit.runtime.streaming.planning import LEAST_PRODUCTS

SIZE = (3, 2)
MIB = 2**20


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as small as these run whole, as they do outside of these tests."""
    monkeypatch.setattr(whole_runner, "LEAST_PRODUCTS", LEAST_PRODUCTS)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that is taken for a GPU, where all that fits runs whole, without a compiler."""

    class Plainly:
        def __init__(self, network: nn.Module, *_: object, **__: object) -> None:
            self.run = network

    monkeypatch.setattr(whole_runner, "compiles", lambda _: True)
    monkeypatch.setattr(whole_runner, "CompiledNetwork", Plainly)


@pytest.fixture
def slabs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The items of each run in slabs."""
    runs: list[int] = []
    plain = slab_runner.run_stages
    monkeypatch.setattr(slab_runner, "run_stages", lambda *args: runs.append(len(args[2])) or plain(*args))
    return runs


def items(count: int, size: tuple[int, int] = SIZE, dtype: torch.dtype = torch.float32) -> Tensor:
    shape = (count, CHANNELS, FACTOR * size[0], FACTOR * size[1])
    return torch.randn(shape, generator=torch.Generator().manual_seed(count)).to(dtype)


def runner(
    network: nn.Module,
    dtype: torch.dtype = torch.float32,
    make_input: Callable[[int, int], Tensor] | None = lambda h, w: items(1, (h, w)),
    ledger: Ledger | None = None,
    **plan: Any,
) -> Runner:
    given = None if make_input is None else (lambda h, w: make_input(h, w).to(dtype))
    arenas = (ledger or Ledger()).make_arena
    return Runner(
        network.to(dtype), given, TorchBackend(), Plan(**{"device": "cpu", "backend": "torch"} | plan), arenas
    )


def close_to(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


# Whole or by slabs


def test_a_large_network_runs_item_by_item_in_slabs(slabs: list[int]) -> None:
    network, ledger = networks()["residual"], Ledger()
    running, x = runner(network, ledger=ledger), items(3)
    assert running.items_whole(SIZE, 0) == 0
    close_to(running.run(x, SIZE, 0), network(x))
    assert slabs == [1, 1, 1]
    assert ledger.outstanding == 0


def test_a_small_network_runs_item_by_item_as_a_whole(whole: None, slabs: list[int]) -> None:
    network = networks()["residual"]
    running, x = runner(network), items(3)
    assert running.items_whole(SIZE, 0) == 1
    got = running.run(x, SIZE, 0)
    assert torch.equal(got, torch.cat([network(each) for each in x.split(1)]))
    assert slabs == []


def test_a_budget_that_the_whole_network_does_not_fit_means_slabs(whole: None, slabs: list[int]) -> None:
    network = networks()["residual"]
    size = (200, 100)
    running = runner(network, memory=44 * MIB)
    assert running.items_whole(size, 0) == 0 and running.items_whole(SIZE, 0) == 1
    assert running.items_whole(SIZE, 44 * MIB) == 0  # the caller takes it all
    x = items(1, (50, 10))
    close_to(running.run(x, (50, 10), 0), network(x))


def test_a_network_that_cannot_be_traced_runs_on_what_it_is_given(slabs: list[int]) -> None:
    given: list[int] = []

    def rows(x: Tensor) -> Tensor:
        given.append(len(x))
        return torch.stack([x[:, :, i] for i in range(x.shape[2])], 2)

    network = Net(rows)
    running, x = runner(network), items(5)
    assert not running.traced.is_traceable
    given.clear()
    assert torch.equal(running.run(x, SIZE, 0), x)
    assert given == [5] and slabs == []


# Batches


def sizes(parts: Any) -> list[int]:
    return [len(each) for each in parts]


def test_batches_of_an_untraced_network_are_those_of_the_plan() -> None:
    running = runner(nn.Linear(2, 2), make_input=None, batch_size=3)
    x = torch.randn(7, 2)
    parts = running.batches(x, (), 0)
    assert sizes(parts) == [3, 3, 1] and torch.equal(torch.cat(list(parts)), x)


@pytest.mark.parametrize(
    ("count", "batch", "expected"),
    [(7, 3, [3, 3, 1]), (8, 3, [3, 3, 1, 1]), (2, 3, [1, 1]), (6, 3, [3, 3]), (3, 1, [1, 1, 1])],
)
def test_what_is_left_over_goes_through_alone(gpu: None, count: int, batch: int, expected: list[int]) -> None:
    running = runner(networks()["one convolution"], batch_size=batch)
    x = items(count)
    parts = running.batches(x, SIZE, 0)
    assert sizes(parts) == expected and torch.equal(torch.cat(list(parts)), x)


def test_items_in_slabs_go_through_alone() -> None:
    running = runner(networks()["one convolution"], batch_size=4)
    assert sizes(running.batches(items(3), SIZE, 0)) == [1, 1, 1]


# Explanations


def test_an_explanation_of_a_network_of_one_size() -> None:
    running = runner(nn.Linear(2, 2), make_input=None, memory="1GiB")
    assert running.explained("encode", (), (28, 28), 0) == Explanation(
        "encode", (28, 28), "cpu", "float32", "torch", 1 << 30, None, 0, 0, 1, (28, 28)
    )
    assert running.explained("encode", (), (), 0).slab_rows == (1, 1)


def test_an_explanation_of_a_whole_run(whole: None) -> None:
    running = runner(networks()["residual"])
    found = running.explained("decode", SIZE, (12, 8), 1000)
    assert found == Explanation(
        "decode", (12, 8), "cpu", "float32", "torch", None, running.whole.peak(SIZE, 1000), 0, 0, 1, (12, 12)
    )


def test_an_explanation_of_slabs() -> None:
    running, size = runner(networks()["residual"], memory=44 * MIB), (200, 100)
    found = running.explained("decode", size, (800, 400), 0)
    plan = running.slabs.prepared(size, 0).plan
    rows = [schedule.slab_rows for schedule in plan.schedules]
    assert (found.predicted_peak, found.to_file, found.prepared) == (plan.peak, plan.to_file, plan.prepared)
    assert found.to_file > 0 and found.predicted_peak is not None and found.predicted_peak <= 44 * MIB
    assert (found.stages, found.slab_rows, found.budget) == (len(rows), (min(rows), max(rows)), 44 * MIB)
    free = runner(networks()["residual"]).explained("decode", size, (800, 400), 0)
    assert (free.to_file, free.budget) == (0, None)


def test_what_does_not_fit_is_refused_when_it_is_explained() -> None:
    with refuses(BadPlan, "2 MiB"):
        runner(networks()["residual"], memory=2 * MIB).explained("decode", SIZE, (12, 8), 0)


# Memory that runs out, and half precision that overflows


def test_a_run_that_ran_out_is_done_again_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks()["residual"]
    running, failures, plain = runner(network), [True], slab_runner.run_stages

    def fails_once(*args: Any) -> Tensor:
        if failures:
            raise MemoryError(failures.pop())
        return plain(*args)

    monkeypatch.setattr(slab_runner, "run_stages", fails_once)
    size = (60, 40)
    x = items(1, size)
    close_to(running.run(x, size, 0), network(x))
    (note,) = running.notes("decoder")
    assert not lacks(note, "decoder", "160x240")


def test_a_run_that_never_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Tensor:
        raise MemoryError

    monkeypatch.setattr(slab_runner, "run_stages", fails)
    with refuses(TooLittleMemory, "8x12"):
        runner(networks()["residual"]).run(items(2), SIZE, 0)


def loud() -> nn.Module:
    """A network whose second layer overflows in fp16 for large inputs alone; a norm takes the factor out again."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, 1)
    layer.weight.mul_(1e4 / layer.weight.abs().max())
    return nn.Sequential(nn.Conv2d(4, 4, 1), layer, nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1))


def test_items_that_overflow_are_done_again_and_the_layer_is_named(gpu: None, slabs: list[int]) -> None:
    x = items(3)
    x[1] *= 100
    expected = loud()(x)
    running = runner(loud(), torch.float16, batch_size=3)
    got = running.run(x.half(), SIZE, 0)
    assert slabs == [1]  # the second item alone
    torch.testing.assert_close(got.float(), expected, atol=3e-2, rtol=3e-2)
    first, second = running.notes("decoder")
    assert not lacks(first, "decoder", "fp16") and not lacks(second, "fp16", "fp32", "1")
    assert running.notes("decoder") == [first, second]


def test_after_some_items_that_overflow_all_run_in_slabs(gpu: None, slabs: list[int]) -> None:
    running = runner(loud(), torch.float16, batch_size=2)
    x = (items(1) * 100).half()
    for count in range(1, OVERFLOWS + 1):
        assert running.items_whole(SIZE, 0) == 2
        running.run(x, SIZE, 0)
        assert slabs == [1] * count
    assert running.items_whole(SIZE, 0) == 0
    running.run((items(2) / 100).half(), SIZE, 0)
    assert slabs == [1] * (OVERFLOWS + 2)


def test_items_that_come_with_nan_are_not_done_again(gpu: None, slabs: list[int]) -> None:
    x = items(2)
    x[1, 0, 0, 0] = torch.nan
    running = runner(loud(), torch.float16, batch_size=2)
    got = running.run(x.half(), SIZE, 0)
    assert slabs == [] and got[0].isfinite().all() and not got[1].isfinite().all()
    assert running.notes("decoder") == []


def test_single_precision_is_not_looked_at(gpu: None, slabs: list[int]) -> None:
    running = runner(loud(), batch_size=2)
    got = running.run(torch.full((1, CHANNELS, 12, 8), 1e38), SIZE, 0)
    assert slabs == [] and not got.isfinite().all()


def test_a_plane_has_two_axes() -> None:
    assert plane((3, 4)) == (3, 4)
    assert plane((3,)) == (3, 1)
    for size in ((), (3, 4, 5)):
        with pytest.raises(ValueError):
            plane(size)
