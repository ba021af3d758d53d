"""One item at a time by slabs: what is remembered, and smaller slabs where memory runs out."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from poisoned_arena import Ledger
from refusals import lacks, refuses
from small_networks import CHANNELS, FACTOR, NAMES, networks
from torch import Tensor, nn

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.backends import Backend, Convolver, TorchBackend
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import SHARE_OF_FREE
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.plan import Notes, Plan
from vaekit.runtime.streaming import slab_runner as slabs
from vaekit.runtime.streaming.operations import Convolve
from vaekit.runtime.streaming.slab_runner import SlabRunner
from vaekit.runtime.streaming.tracing import SMALL
from vaekit.runtime.traced_network import CACHED_SIZES, TracedNetwork
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]
MIB = 2**20
SIZE = (320, 256)


def latents(rows: int = SIZE[0] // 4, columns: int = SIZE[1] // 4) -> Tensor:
    return torch.randn(1, 4, rows, columns, generator=torch.Generator().manual_seed(0))


def engine(vae: VAE, memory: str | int | None = None) -> Engine:
    return Engine(vae, Plan(device="cpu", memory=memory, backend="torch"))


def failing(times: int, error: Callable[[], Exception], peaks: list[int]) -> Callable[..., Tensor]:
    """A `stream` that runs out of memory so many times; it writes the peak of each try's schedules down."""
    plain = slabs.run_stages

    def stream(*args: Any) -> Tensor:
        peaks.append(sum(schedule.slab_rows for schedule in args[1]))
        if len(peaks) <= times:
            raise error()
        return plain(*args)

    return stream


ERRORS: dict[str, Callable[[], Exception]] = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python": MemoryError,
    "torch's CPU allocator": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    "cuDNN": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "a map of memory": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "a map of memory" else pytest.param(kind, marks=pytest.mark.nightly) for kind in ERRORS]
)
def test_a_run_that_ran_out_of_memory_is_done_in_smaller_slabs(
    vae: VAE, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    expected, rows = engine(vae).decode(latents()), []
    monkeypatch.setattr(slabs, "run_stages", failing(1, ERRORS[kind], rows))
    running = engine(vae)
    torch.testing.assert_close(running.decode(latents()), expected, atol=1e-5, rtol=0)
    assert len(rows) == 2 and rows[1] < rows[0]
    (note,) = running.notes
    assert not lacks(note, "decoder", "256x320")


def test_the_smaller_slabs_are_remembered_for_that_size_alone(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    running = engine(vae)
    wide = running.explain(*SIZE)[1], running.explain(64, 64)[1]
    monkeypatch.setattr(slabs, "run_stages", failing(1, MemoryError, rows))
    first, second = running.decode(latents()), running.decode(latents())
    assert torch.equal(first, second)
    assert rows[1] == rows[2] < rows[0]
    narrow = running.explain(*SIZE)[1], running.explain(64, 64)[1]
    assert narrow[0].predicted_peak is not None and wide[0].predicted_peak is not None
    assert narrow[0].predicted_peak <= wide[0].predicted_peak // 2 or narrow[0].slab_rows < wide[0].slab_rows
    assert narrow[1] == wide[1]


@pytest.mark.parametrize("memory", [None, "64MiB"])
def test_it_ends_in_words_when_the_smallest_slabs_do_not_fit(
    vae: VAE, monkeypatch: pytest.MonkeyPatch, memory: str | None
) -> None:
    rows: list[int] = []
    monkeypatch.setattr(slabs, "run_stages", failing(1000, MemoryError, rows))
    running = engine(vae, memory)
    with refuses(TooLittleMemory, "256x320"):
        running.decode(latents())
    assert 2 <= len(rows) < 20
    assert rows == sorted(rows, reverse=True)


def test_a_budget_of_the_user_is_never_exceeded(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    running = engine(vae, "40MiB")
    plans: list[int | None] = []
    plain = running._decoder.slabs.plan  # type: ignore[union-attr]
    monkeypatch.setattr(running._decoder.slabs, "plan", lambda *args: plans.append(args[2]) or plain(*args))
    monkeypatch.setattr(slabs, "run_stages", failing(1000, MemoryError, rows))
    with pytest.raises(TooLittleMemory):
        running.decode(latents())
    assert max(plan for plan in plans if plan is not None) <= 40 << 20
    assert None not in plans


def test_other_errors_are_no_lack_of_memory(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    monkeypatch.setattr(slabs, "run_stages", failing(1, lambda: RuntimeError("shapes do not match"), rows))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine(vae).decode(latents())
    assert len(rows) == 1


def test_nothing_runs_before_a_refusal(vae: VAE, monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    running = engine(vae, "1MiB")
    monkeypatch.setattr(slabs, "run_stages", None)
    with refuses(BadPlan, "1 MiB", "--memory"):
        running.encode(images(1, 64, 64))


def least(vae: VAE, height: int, width: int) -> int:
    """The smallest budget for an image, in bytes."""
    with refuses(TooLittleMemory, "1 MiB") as refused:
        engine(vae, MIB).explain(height, width)
    return refused.value.least


def test_free_memory_is_the_budget_without_one(vae: VAE, monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    freely, enough = engine(vae).explain(512, 512), least(vae, 512, 512)
    monkeypatch.setattr(slabs, "free_memory", lambda _: int((enough + MIB) / SHARE_OF_FREE))
    tight = engine(vae).explain(512, 512)
    for wide, narrow in zip(freely, tight, strict=True):
        assert wide.to_file == 0
        assert narrow.predicted_peak is not None and wide.predicted_peak is not None
        assert narrow.predicted_peak <= enough + MIB
        assert narrow.predicted_peak < wide.predicted_peak or wide.predicted_peak <= enough + MIB
    monkeypatch.setattr(slabs, "free_memory", lambda _: MIB)
    with pytest.raises(BadPlan):
        engine(vae).encode(images(1, 512, 512))


# The runner itself


def make_input(h: int, w: int) -> Tensor:
    generator = torch.Generator().manual_seed(h * w)
    return torch.randn(1, CHANNELS, FACTOR * h, FACTOR * w, generator=generator)


def runner(
    network: nn.Module, plan: Plan | None = None, backend: Backend | None = None, ledger: Ledger | None = None
) -> SlabRunner:
    traced = TracedNetwork(network, make_input)
    assert traced.is_traceable
    arenas = (ledger or Ledger()).make_arena
    plan = plan or Plan(device="cpu", backend="torch")
    return SlabRunner(traced, backend or TorchBackend(), plan, OverflowGuard(traced.dtype), Notes(), arenas)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory", [None, "40MiB"])
def test_an_item_by_slabs_is_what_the_network_makes_of_it(name: str, memory: str | None) -> None:
    network, ledger = networks()[name].eval(), Ledger()
    if next(network.parameters(), None) is None:
        network.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    running = runner(network, Plan(device="cpu", backend="torch", memory=memory), ledger=ledger)
    with torch.no_grad():
        for size in ((1, 2), (6, 5)):
            x = make_input(*size)
            torch.testing.assert_close(running.run(x, size, 0), network(x), atol=1e-5, rtol=1e-5)
            assert ledger.outstanding == 0
    assert running.notes == []


@pytest.mark.parametrize("memory", [40 * MIB, 60 * MIB, None])
def test_a_plan_keeps_to_the_budget(memory: int | None) -> None:
    running = runner(networks()["residual"], Plan(device="cpu", backend="torch", memory=memory))
    plan = running.prepared((64, 64), 0).plan
    assert memory is None or plan.peak <= memory
    assert running.prepared((64, 64), MIB).plan.peak - plan.peak in ({MIB} if memory is None else range(MIB + 1))


def test_plans_are_remembered_for_the_last_sizes() -> None:
    running = runner(networks()["one convolution"])
    plans = {n: running.plan((n, 1), 0, None) for n in range(1, CACHED_SIZES + 1)}
    assert running.plan((2, 1), 0, None) is plans[2]
    assert running.plan((2, 1), 5, None) is not plans[2]  # the first size is forgotten for it
    assert running.plan((3, 1), 0, None) is plans[3]
    assert running.plan((1, 1), 0, None) is not plans[1]


def test_parts_are_the_threads_that_torch_may_use() -> None:
    running, before = runner(networks()["convolutions"]), torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert running.parts == threads
            assert {schedule.parts for schedule in running.prepared((9, 4), 0).plan.schedules} == {threads}
    finally:
        torch.set_num_threads(before)


class Off(TorchBackend):
    """A backend whose results differ from torch's by so much in each value."""

    name = "off"

    def __init__(self, by: float) -> None:
        self.by = by

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        plain = super().prepare(convolution, threads)
        return lambda x: plain(x) + self.by

    def prepared_bytes(self, convolution: Convolve) -> int:
        return 1000


@pytest.mark.parametrize("chosen", ["auto", "ncnn"])
@pytest.mark.parametrize(("by", "agrees"), [(1e-4, True), (5e-3, False), (float("nan"), False)])
def test_another_backend_is_compared_with_torch_once(chosen: str, by: float, agrees: bool) -> None:
    network = networks()["one convolution"]
    running = runner(network, Plan(device="cpu", backend=chosen), Off(by))
    x = make_input(2, 2)
    if not agrees and chosen != "auto":
        with refuses(BadPlan, "off", "torch"):
            running.run(x, (2, 2), 0)
        return
    with torch.no_grad():
        expected = network(x)
        for _ in range(2):
            torch.testing.assert_close(running.run(x, (2, 2), 0), expected + (by if agrees else 0), atol=1e-5, rtol=0)
    assert running.convolvers.backend.name == ("off" if agrees else "torch")
    assert running.plan(SMALL, 0, None).prepared == (1000 if agrees else 0)
    assert len(running.notes) == (0 if agrees else 1)
    assert all(not lacks(note, "off", "torch") for note in running.notes)


def test_the_check_uses_the_example_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    running = runner(networks()["one convolution"], Plan(device="cpu", backend="auto"), Off(0.0))
    shapes: list[tuple[int, ...]] = []
    plain = slabs.run_stages
    monkeypatch.setattr(slabs, "run_stages", lambda *args: shapes.append(tuple(args[2].shape)) or plain(*args))
    running.check_backend()
    running.check_backend()
    assert shapes == [(1, CHANNELS, FACTOR * SMALL[0], FACTOR * SMALL[1])]


def test_arenas_are_replaced_after_an_error_and_kept_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()
    running = runner(networks()["residual"], ledger=ledger)
    before = running.bands, running.slabs
    x = make_input(4, 4)
    running.run(x, (4, 4), 0)
    assert (running.bands, running.slabs) == before and len(ledger.arenas) == 2

    def interrupted(*_: object) -> Tensor:
        running.slabs.lease((4096,), torch.float32)  # which nobody returns
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(slabs, "run_stages", interrupted)
        with pytest.raises(KeyboardInterrupt):
            running.run(x, (4, 4), 0)
    assert running.bands is not before[0] and running.slabs is not before[1]
    assert running.slabs.outstanding == 0
    running.run(x, (4, 4), 0)


def test_memory_for_maps_is_kept_for_the_next_item_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    running = runner(networks()["residual"])
    x = make_input(16, 16)
    running.run(x, (16, 16), 0)
    assert running.bands.allocated > 0
    running.release_memory()
    assert running.bands.allocated == running.slabs.allocated == 0
    monkeypatch.setattr(slabs, "KEPT_BETWEEN_RUNS", 0)
    running.run(x, (16, 16), 0)
    assert running.bands.allocated == 0


def test_what_goes_to_a_file_goes_to_the_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAEKIT_SCRATCH", str(tmp_path / "scratch"))
    network = networks()["residual"]
    running = runner(network, Plan(device="cpu", backend="torch", memory="41MiB"))
    x, size = make_input(64, 64), (64, 64)
    assert running.prepared(size, 0).plan.to_file > 0
    with torch.no_grad():
        torch.testing.assert_close(running.run(x, size, 0), network(x), atol=1e-4, rtol=1e-4)
    assert (tmp_path / "scratch").is_dir() and not list((tmp_path / "scratch").iterdir())


def test_a_size_that_failed_is_given_half_of_what_it_took_and_the_least_at_last() -> None:
    running, size = runner(networks()["residual"]), (200, 200)
    wide, other = running.prepared(size, 0), running.prepared((8, 8), 0)
    running._shrink(size, 0, wide)
    assert running._shrunk == {size: wide.plan.peak // 2}
    assert running.prepared(size, 0).plan.peak <= wide.plan.peak // 2
    with refuses(TooLittleMemory) as refused:
        running.plan(size, 0, 1)
    running._shrink(size, 0, running.prepared(size, 0))  # a quarter is less than a run takes besides
    assert running._shrunk == {size: refused.value.least}
    with refuses(TooLittleMemory, "800x800") as failed:
        running._shrink(size, 0, running.prepared(size, 0))
    assert failed.value.least == refused.value.least
    assert running._shrunk == {}  # the next image may have more memory
    assert running.prepared((8, 8), 0).plan is other.plan
    assert len(running.notes) == 1


def test_a_size_that_failed_is_given_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    running, size = runner(networks()["residual"]), (200, 200)
    wide = running.prepared(size, 0)
    monkeypatch.setattr(slabs, "free_memory", lambda _: 90 * MIB)
    running._shrink(size, 0, wide)
    assert running._shrunk == {size: 45 * MIB}
