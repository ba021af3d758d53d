"""Stages run by slabs of any height, in any number of parts, give what the whole network gives."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from family_halves import Half, half_of, streamed
from poisoned_arena import Ledger
from small_networks import FACTOR, NAMES, each_network, stages_of
from torch import Tensor, nn

from vaekit.runtime.backends import Convolver, Convolvers, TorchBackend
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming import executor
from vaekit.runtime.streaming.arena import BAND_SLACK, SLAB_SLACK, Arena
from vaekit.runtime.streaming.buffers import Map, Store, WholeValue
from vaekit.runtime.streaming.executor import PartRun, Run, StageRows, StageRun, run_stages
from vaekit.runtime.streaming.operations import Convolve
from vaekit.runtime.streaming.schedule import Stages
from vaekit.runtime.streaming.walk import row_ranges

CPU = torch.device("cpu")
SINGLE = OverflowGuard(torch.float32)


@pytest.fixture(scope="module")
def half() -> Callable[[str], Half]:
    return each_network()


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


def close_to(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


ALL_ROWS = 1000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slab_rows", [1, 2, 3, ALL_ROWS])
@pytest.mark.parametrize(("parts", "memory"), [(1, None), (1, 0), (3, None), (2, 0)])
def test_slabs_give_what_the_whole_network_gives(
    half: Callable[[str], Half], name: str, slab_rows: int, parts: int, memory: int | None
) -> None:
    one, ledger = half(name), Ledger()
    x = one.input(5, 2)
    got = streamed(one, x, slab_rows, memory, parts, make_arena=ledger.make_arena)
    close_to(got, one.network(x))
    assert ledger.outstanding == 0 and not ledger.overlaps
    assert not any(arena.holds(got) for arena in ledger.arenas)


@pytest.mark.parametrize("name", NAMES)
def test_where_maps_are_kept_and_which_thread_makes_them_changes_no_bit(half: Callable[[str], Half], name: str) -> None:
    one = half(name)
    x = one.input(4, 3)
    assert torch.equal(streamed(one, x, 4, None, 2), streamed(one, x, 4, 0, 2))


def test_the_input_is_left_as_it_is(half: Callable[[str], Half]) -> None:
    for name in NAMES:
        x = half(name).input(2, 2)
        before = x.clone()
        streamed(half(name), x, 2, None, 2)
        assert torch.equal(x, before), name


@pytest.mark.parametrize("value", [0.0, 1.5])
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (0, 1, 0, 1), (2, 0, 3, 1), (0, 0, 4, 0)])
@pytest.mark.parametrize("slab_rows", [1, 2, ALL_ROWS])
def test_padding_is_laid_around_all_slabs(value: float, amounts: tuple[int, int, int, int], slab_rows: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 3, 3)

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.first, self.conv = nn.GroupNorm(2, 8), nn.Conv2d(4, 8, 1), convolution

        def forward(self, x: Tensor) -> Tensor:
            made = nn.functional.silu(self.norm(self.first(x)))
            return self.conv(nn.functional.pad(made, amounts, value=value))

    one = half_of(Padded().eval(), 4, FACTOR)
    x = one.input(3, 2)
    for parts in (1, 2):
        ledger = Ledger()
        close_to(streamed(one, x, slab_rows, None, parts, make_arena=ledger.make_arena), one.network(x))
        assert ledger.outstanding == 0


class Counting(TorchBackend):
    """torch's convolutions; counts what is prepared and which rows come."""

    def __init__(self) -> None:
        self.prepared: list[int] = []
        self.heights: list[int] = []
        self.rests = 0

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        self.prepared.append(threads)
        plain = super().prepare(convolution, threads)

        def run(x: Tensor) -> Tensor:
            self.heights.append(x.shape[2])
            return plain(x)

        return run

    def release_buffers(self) -> None:
        self.rests += 1


def run(
    stages: Stages,
    x: Tensor,
    schedules: Sequence[StageRows],
    convolvers: Convolvers | None = None,
    ready: frozenset[int] = frozenset(),
    ledger: Ledger | None = None,
) -> Tensor:
    make_arena = ledger.make_arena if ledger else Arena
    store, slabs = Store(CPU, make_arena(CPU, BAND_SLACK)), make_arena(CPU, SLAB_SLACK)
    return run_stages(stages, schedules, x, store, convolvers or Convolvers(TorchBackend()), ready, SINGLE, slabs)


def test_no_convolution_is_given_more_rows_than_a_slab_and_its_reach(half: Callable[[str], Half]) -> None:
    one, backend = half("one convolution"), Counting()
    stages = stages_of(one)
    x = one.input(3, 2)
    run(stages, x, [StageRows(4)], Convolvers(backend))
    assert backend.heights == [6, 6, 6]
    backend.heights.clear()
    run(stages, x, [StageRows(5)], Convolvers(backend))
    assert backend.heights == [7, 7, 4]


def test_only_the_convolutions_to_keep_stay_prepared(half: Callable[[str], Half]) -> None:
    one, backend = half("convolutions"), Counting()
    stages, x = stages_of(one), one.input(3, 2)
    steps = [i for i, step in enumerate(stages.steps) if isinstance(step.operation, Convolve)]
    convolvers, schedules = Convolvers(backend), [StageRows(4)] * len(stages.stages)
    for ready, prepared in ((frozenset(steps[:1]), 2), (frozenset(steps[:1]), 1), (frozenset(), 2), (frozenset(), 2)):
        backend.prepared.clear()
        run(stages, x, schedules, convolvers, ready)
        assert len(backend.prepared) == prepared
        assert convolvers._prepared.keys() == ready
    assert backend.rests == 4 * len(stages.stages)


def test_threads_are_shared_among_the_parts(half: Callable[[str], Half]) -> None:
    one, before = half("one convolution"), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for parts, threads in ((1, 4), (2, 2), (3, 1)):
            backend = Counting()
            run(stages_of(one), one.input(3, 2), [StageRows(4, parts)], Convolvers(backend))
            assert backend.prepared == [threads]
    finally:
        torch.set_num_threads(before)


def test_memory_is_given_back_after_the_stages_that_ask_for_it(
    half: Callable[[str], Half], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[bool] = []
    monkeypatch.setattr(executor, "trim_heap", lambda: given_back.append(True))
    one = half("residual")
    stages = stages_of(one)
    schedules = [StageRows(4, trim_heap=i == 1) for i in range(len(stages.stages))]
    run(stages, one.input(3, 2), schedules)
    assert given_back == [True]


def test_free_slabs_beyond_the_spare_ones_go_back(half: Callable[[str], Half], monkeypatch: pytest.MonkeyPatch) -> None:
    one, ledger = half("residual"), Ledger()
    stages = stages_of(one, 12, 12)
    schedules = [StageRows(8)] * len(stages.stages)
    run(stages, one.input(12, 12), schedules, ledger=ledger)
    assert ledger.arenas[1].allocated > 0
    monkeypatch.setattr(executor, "SPARE", 0)
    run(stages, one.input(12, 12), schedules, ledger=ledger)
    assert ledger.arenas[3].allocated == 0


# One run, opened up


def opened(half: Half, x: Tensor, ledger: Ledger) -> Run:
    stages = stages_of(half, x.shape[2] // FACTOR, x.shape[3] // FACTOR)
    first = stages.steps[0]
    store, slabs = Store(CPU, ledger.make_arena(CPU, BAND_SLACK)), ledger.make_arena(CPU, SLAB_SLACK)
    kept: dict[int, Map | WholeValue] = {0: WholeValue(x, first.axis, first.unit)}
    return Run(stages, CPU, store, Convolvers(TorchBackend()), kept, SINGLE, slabs)


@pytest.mark.parametrize("name", ["residual", "two branches"])
def test_maps_are_kept_in_bands_but_for_the_result_and_what_is_read_whole(
    half: Callable[[str], Half], name: str
) -> None:
    one = half(name)
    running = opened(one, one.input(3, 2), Ledger())
    stages = running.stages
    in_one = {stages.output, *stages.read_whole}
    for i in (i for stage in stages.stages for i in stage.kept if stages.steps[i].axis is not None):
        kept = running.keep(i)
        assert running.kept[i] is kept and isinstance(kept, WholeValue) is (i in in_one)
        if isinstance(kept, WholeValue):
            assert running.whole(i) is kept.tensor and kept.tensor.shape == stages.steps[i].shape


def test_memory_taken_on_purpose_is_that_of_whole_values_and_arenas(half: Callable[[str], Half]) -> None:
    one = half("one convolution")
    x = one.input(12, 12)
    running = opened(one, x, Ledger())
    assert running.allocated() == x.nbytes
    lease = running.slabs.lease((4096,), torch.float32)
    running.store.put(0, torch.zeros(8192), 1)
    assert running.allocated() == x.nbytes + 4 * 4096 + 4 * 8192
    assert running.owned(x) is x
    view = lease.tensor[:10]
    assert running.owned(view).data_ptr() != view.data_ptr()
    lease.release()


def test_rows_of_neighbors_are_made_but_not_kept(half: Callable[[str], Half]) -> None:
    one = half("convolutions")
    x = one.input(4, 2)
    running = opened(one, x, Ledger())
    whole = StageRun(running, running.stages.stages[0], 0, StageRows(4, 2))
    returns_view = row_ranges(whole.steps, whole.rowed, whole.stage.kept, 2)
    (target,) = whole.stage.kept
    assert [share.own[target] for share in returns_view] == [(0, 8), (8, 16)]
    task = next(task for task in whole.rowed if task.index == target)
    written: list[tuple[int, Tensor]] = []

    class Kept(WholeValue):
        def put(self, start: int, tensor: Tensor) -> None:
            written.append((start, tensor))

    whole.keeping = {target: Kept(torch.zeros(1), 2, 1)}
    rows = torch.arange(16.0).view(1, 1, 16, 1)
    part = PartRun(whole, returns_view[1], 1)
    for a, b in ((4, 8), (6, 10), (8, 12), (12, 16)):
        part.keep(task, rows[:, :, a:b], a)
    PartRun(whole, returns_view[0], 0).keep(task, rows[:, :, 6:10], 6)
    assert [(start, tensor.flatten().tolist()) for start, tensor in written] == [
        (8, [8.0, 9.0]),
        (8, [8.0, 9.0, 10.0, 11.0]),
        (12, [12.0, 13.0, 14.0, 15.0]),
        (6, [6.0, 7.0]),
    ]


class FailsAt(TorchBackend):
    """Fails at one of the calls of a convolution."""

    def __init__(self, call: int) -> None:
        self.calls, self.call, self.lock = 0, call, threading.Lock()

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        plain = super().prepare(convolution, threads)

        def run(x: Tensor) -> Tensor:
            with self.lock:
                self.calls += 1
                if self.calls == self.call:
                    raise ZeroDivisionError
            return plain(x)

        return run


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("call", [9, 170])
def test_an_error_ends_all_parts_and_closes_the_store(half: Callable[[str], Half], call: int, parts: int) -> None:
    one, ledger, backend = half("residual"), Ledger(), FailsAt(call)
    stages = stages_of(one, 12, 4)
    with pytest.raises(ZeroDivisionError):
        run(stages, one.input(12, 4), [StageRows(1, parts)] * len(stages.stages), Convolvers(backend), ledger=ledger)
    assert ledger.outstanding == 0
    assert backend.calls < call + 48  # the others did not go on to their ends


def test_a_part_ends_when_stop_is_set(half: Callable[[str], Half]) -> None:
    one = half("one convolution")
    running = opened(one, one.input(3, 2), Ledger())
    whole = StageRun(running, running.stages.stages[0], 0, StageRows(1))
    share = row_ranges(whole.steps, whole.rowed, whole.stage.kept, 1)[0]
    whole.stop.set()
    PartRun(whole, share, 0).execute()  # nothing was prepared: a convolution would fail


def test_rows_of_a_map_go_when_all_parts_have_passed(half: Callable[[str], Half]) -> None:
    one = half("residual")
    running = opened(one, one.input(12, 2), Ledger())
    stages = running.stages
    source, number = next((i, last) for i, last in stages.last_use.items() if i and stages.steps[i].rows)
    whole = StageRun(running, stages.stages[number], number, StageRows(4, 2))
    calls: list[tuple[Any, bool]] = []

    class Kept(WholeValue):
        def keep_only(self, needed: Sequence[tuple[int, int]], permanently: bool) -> None:
            calls.append((list(needed), permanently))

    running.kept[source] = Kept(torch.zeros(1), 2, 1)
    whole._progress = {source: {0: (0, 26), 1: (22, 48)}}
    whole.passed(0, source, 5)
    whole.passed(0, source, 26)
    whole.passed(1, source, 48)
    assert calls == [([(5, 26), (22, 48)], True), ([(22, 48)], True), ([], True)]


# Half precision


@pytest.mark.parametrize("slab_rows", [1, 3])
def test_a_layer_that_overflows_is_repaired_and_the_norm_behind_it_reads_fp32(slab_rows: int) -> None:
    torch.manual_seed(0)
    loud, last = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 3, padding=1)
    loud.weight.mul_(6e4 / loud.weight.abs().max())
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), loud, nn.GroupNorm(2, 8), nn.SiLU(), last).eval()
    exact = half_of(network, 4, FACTOR)
    x = exact.input(2, 2) * 8
    expected, guard, ledger = exact.network(x), OverflowGuard(torch.float16), Ledger()
    got = streamed(half_of(network.half(), 4, FACTOR), x.half(), slab_rows, None, 1, None, guard, ledger.make_arena)
    assert len(guard.repaired) == 1
    torch.testing.assert_close(got.float(), expected, atol=2e-2, rtol=2e-2)
    assert got.dtype == torch.float16 and ledger.outstanding == 0


@pytest.mark.parametrize("slab_rows", [1, 3])
def test_rows_that_half_precision_cannot_hold_are_padded_in_fp32(slab_rows: int) -> None:
    torch.manual_seed(0)
    loud, quiet = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 3, padding=1)
    loud.weight.mul_(6e4 / loud.weight.abs().max())
    quiet.weight.mul_(1e-2)
    network = nn.Sequential(loud, quiet).eval()
    exact = half_of(network, 4, FACTOR)
    x = exact.input(2, 2) * 8
    expected, guard = exact.network(x), OverflowGuard(torch.float16)
    got = streamed(half_of(network.half(), 4, FACTOR), x.half(), slab_rows, None, 1, None, guard)
    assert guard.repaired and got.isfinite().all()
    assert (got.float() - expected).abs().max() <= 1e-2 * expected.abs().max()
