"""The memory that is forecast for a run, compared with what an instrumented run holds."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from family_halves import Half, half_of
from poisoned_arena import Ledger
from small_networks import NAMES, each_network, stages_of
from torch import Tensor, nn

from vaekit.runtime.backends import Convolver, Convolvers, TorchBackend, torch_workspace
from vaekit.runtime.numerics import OverflowGuard
from vaekit.runtime.streaming import executor
from vaekit.runtime.streaming import forecast as forecasts
from vaekit.runtime.streaming.arena import BAND_SLACK, SLAB_SLACK
from vaekit.runtime.streaming.buffers import Store, WholeValue
from vaekit.runtime.streaming.executor import PartRun, StageRows, run_stages
from vaekit.runtime.streaming.forecast import (
    FRAGMENTED,
    SIMULATED_SLABS,
    WORKSPACE,
    StageForecast,
    StageSimulation,
    attends_in_parts,
    forecast,
    whole_peak,
)
from vaekit.runtime.streaming.operations import Convolve
from vaekit.runtime.streaming.schedule import Stages
from vaekit.runtime.streaming.walk import RowStep, Task, walk

CPU = torch.device("cpu")
HALF = each_network()
CONVOLVERS = Convolvers(TorchBackend())


class Observed:
    """What a run held: in strips after each move, in maps after each stage, and what was put into maps at once."""

    def __init__(self) -> None:
        self.strips: list[list[int]] = []
        """For each stage, the bytes of all strips after each move."""
        self.maps: list[int] = []
        self.most_maps: list[int] = []
        self.wholes: list[int] = []
        self.bands: list[int] = []


def held_by(part: PartRun) -> int:
    """Bytes of the memory that strips and frames lie in."""
    tensors = [each.tensor if each._lease is None else each._lease.tensor for each in part.row_buffers.values()]
    return sum(each.nbytes for each in tensors if each is not None)


def observed(half: Half, x: Tensor, slab_rows: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Stages, Observed]:
    """Run a network in one part and look at its memory."""
    stages, seen, running = stages_of(half, x.shape[2] // 4, x.shape[3] // 4), Observed(), list[PartRun]()
    ledger = Ledger()
    store = Store(CPU, ledger.make_arena(CPU, BAND_SLACK))

    class Watched(PartRun):
        def _walk(self) -> None:
            running.append(self)
            super()._walk()

        def keep(self, task: Task, made: Tensor, row: int) -> None:
            seen.bands[-1] = max(seen.bands[-1], made.nbytes)
            super().keep(task, made, row)
            seen.most_maps[-1] = max(seen.most_maps[-1], store.held)

    def watched_walk(*args: object) -> Iterator[RowStep]:
        for move in walk(*args):  # type: ignore[arg-type]
            yield move
            seen.strips[-1].append(held_by(running[-1]))

    class WatchedStage(executor.StageRun):
        def execute(self) -> None:
            seen.strips.append([])
            seen.bands.append(0)
            seen.most_maps.append(store.held)
            super().execute()
            kept = [each for i, each in self.run.kept.items() if i and isinstance(each, WholeValue)]
            seen.wholes.append(sum(each.tensor.nbytes for each in kept))

    with monkeypatch.context() as patch:
        patch.setattr(executor, "PartRun", Watched)
        patch.setattr(executor, "StageRun", WatchedStage)
        patch.setattr(executor, "walk", watched_walk)
        patch.setattr(executor, "trim_heap", lambda: seen.maps.append(store.held))
        schedules = [StageRows(slab_rows, trim_heap=True)] * len(stages.stages)
        guard = OverflowGuard(torch.float32)
        slabs = ledger.make_arena(CPU, SLAB_SLACK)
        with torch.no_grad():
            run_stages(stages, schedules, x, store, Convolvers(TorchBackend()), frozenset(), guard, slabs)
    return stages, seen


class Followed(StageSimulation):
    """Writes down what strips are forecast to take after each move."""

    def step(self, move: RowStep) -> None:
        super().step(move)
        self.after = [*getattr(self, "after", []), self.taken]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slab_rows", [1, 3, 8, 1000])
def test_rows_held_after_each_move_are_those_forecast(
    name: str, slab_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = HALF(name)
    stages, seen = observed(half, half.input(6, 3), slab_rows, monkeypatch)
    for number, stage in enumerate(stages.stages):
        walked = Followed(stages, stage, StageRows(slab_rows), CONVOLVERS, frozenset())
        walked.run()
        after = getattr(walked, "after", [])
        assert after == seen.strips[number][: len(after)]
        assert max(seen.strips[number], default=0) <= max(after, default=0)  # the first slabs take most
        assert max(after, default=0) <= walked.peak


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slab_rows", [1, 8, 1000])
def test_maps_and_whole_values_take_what_was_forecast(
    name: str, slab_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = HALF(name)
    stages, seen = observed(half, half.input(6, 3), slab_rows, monkeypatch)
    found = forecast(stages, [StageRows(slab_rows)] * len(stages.stages), CONVOLVERS, frozenset())
    before = 0
    for number, (each, after) in enumerate(zip(found, seen.maps, strict=True)):
        kept = max(before, after)
        assert each.maps == kept + min(2 * each.band, kept)
        assert seen.most_maps[number] <= each.maps
        assert each.band == seen.bands[number]
        output = stages.steps[stages.output]
        counted = each.wholes + (output.nbytes if stages.output in stages.stages[number].kept else 0)
        assert seen.wholes[number] == counted
        before = after


# One stage, by hand


def traced(network: nn.Module, h: int = 4, w: int = 2) -> Stages:
    return stages_of(half_of(network.eval(), 4, 4), h, w)


def only(
    stages: Stages, slab_rows: int, backend: TorchBackend | None = None, ready: frozenset[int] = frozenset()
) -> StageForecast:
    """The forecast of a single stage."""
    (found,) = forecast(stages, [StageRows(slab_rows)], Convolvers(backend or TorchBackend()), ready)
    return found


def test_a_convolution_takes_its_frame_its_rows_and_its_workspace() -> None:
    stages = traced(nn.Conv2d(4, 5, 3, padding=1))
    padded_row, made_row, weights = 4 * 10 * 4, 5 * 8 * 4, 5 * 4 * 9 * 4
    found = only(stages, 4)
    frame, made = 6 * padded_row, 4 * made_row
    copies = 16 * (6 * 10 + 4 * 8) * 4  # in blocks of 16 channels
    # While it runs: the frame, the rows that it makes, and what torch takes for one call.
    assert found.workspace == frame + made + (copies + weights)
    assert (found.wholes, found.maps, found.band) == (0, 0, made)


def test_all_rows_at_once_take_the_whole_map() -> None:
    stages = traced(nn.Conv2d(4, 5, 3, padding=1))
    frame, made, weights = 18 * 4 * 10 * 4, 16 * 5 * 8 * 4, 5 * 4 * 9 * 4
    copies = 16 * (18 * 10 + 16 * 8) * 4
    assert only(stages, 1000).workspace == frame + made + (copies + weights)


def test_mirrored_rows_are_copied_behind_the_old_ones() -> None:
    stages = stages_of(half_of(nn.Conv2d(64, 1, 3, padding=1, padding_mode="reflect").eval(), 64, 4), 4, 2)
    padded_row, given_row = 64 * 10 * 4, 64 * 8 * 4
    # The second slab pads rows 6 to 10 of rows 3 to 11: these are joined, and read once more in padding's order. Two
    # old rows are copied in front of four new ones.
    assert only(stages, 4).workspace == (2 + 6) * padded_row + 2 * 8 * given_row


def test_parts_side_by_side_take_their_rows_each() -> None:
    stages = traced(nn.Conv2d(4, 5, 3, padding=1), 12)
    (one,) = forecast(stages, [StageRows(4, 1)], CONVOLVERS, frozenset())
    (three,) = forecast(stages, [StageRows(4, 3)], CONVOLVERS, frozenset())
    assert (three.workspace, three.band) == (3 * one.workspace, 3 * one.band)


def test_views_take_nothing_and_new_values_their_size() -> None:
    row = 4 * 8 * 4
    assert only(traced(nn.Sequential(Silu())), 4).workspace == 2 * 4 * row  # rows of the input are joined
    assert only(traced(nn.Sequential(Flat())), 4).workspace == 4 * row


class Silu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(x)


class Flat(Silu):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2)


class Prepares(TorchBackend):
    """Prepared convolutions take 1000 bytes."""

    def prepared_bytes(self, convolution: Convolve) -> int:
        return 1000

    def prepare(self, convolution: Convolve, threads: int) -> Convolver:
        raise AssertionError  # nothing runs


def test_convolutions_that_are_prepared_for_good_are_counted_elsewhere() -> None:
    stages = traced(nn.Conv2d(4, 5, 3, padding=1))
    plain = only(stages, 4).workspace
    assert only(stages, 4, Prepares()).workspace == plain + 1000
    (step,) = (i for i, each in enumerate(stages.steps) if isinstance(each.operation, Convolve))
    assert only(stages, 4, Prepares(), frozenset({step})).workspace == plain


def test_statistics_of_half_precision_take_a_copy_in_fp32() -> None:
    row = 4 * 8
    for dtype in (torch.float32, torch.float16):
        stages = stages_of(half_of(nn.GroupNorm(2, 4).to(dtype), 4, 4), 4, 2)
        first, _ = forecast(stages, [StageRows(4)] * 2, CONVOLVERS, frozenset())
        assert first.workspace == 4 * row * dtype.itemsize + 4 * row * 4


def test_normalizing_half_precision_takes_two_copies_in_fp32() -> None:
    row = 4 * 8
    for dtype, copies in ((torch.float32, 0), (torch.bfloat16, 2)):
        stages = stages_of(half_of(nn.GroupNorm(2, 4).to(dtype), 4, 4), 4, 2)
        _, second = forecast(stages, [StageRows(4)] * 2, CONVOLVERS, frozenset())
        assert second.workspace == 4 * row * dtype.itemsize * 2 + copies * 4 * row * 4


def test_no_more_slabs_are_followed_than_take_most(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = traced(nn.Conv2d(4, 5, 3, padding=1), 40)
    moves: list[RowStep] = []
    plain: Callable[[StageSimulation, RowStep], None] = StageSimulation.step
    monkeypatch.setattr(StageSimulation, "step", lambda self, move: moves.append(move) or plain(self, move))
    only(stages, 4)
    assert len(moves) == 2 * SIMULATED_SLABS


# Whole networks

MAP = 4 * 16 * 8 * 4
"""Bytes of a map of 4 channels for a latent of 4 x 2."""


def whole(network: nn.Module, device: str = "cpu") -> int:
    """The predicted peak of a whole run, without the factor for fragmentation."""
    peak = whole_peak(half_of(network.eval(), 4, 4).watched, (4, 2), torch.device(device))
    return math.ceil(peak / (FRAGMENTED if device == "cpu" else WORKSPACE))


def test_a_whole_convolution_takes_its_maps_and_a_workspace() -> None:
    network = nn.Conv2d(4, 5, 3, padding=1)
    maps = MAP + MAP * 5 // 4
    assert whole(network) == maps + torch_workspace(network.weight, (1, 4, 16, 8), (1, 5, 16, 8))
    assert whole(network, "cuda") == maps


@pytest.mark.parametrize(
    ("layers", "maps"),
    [
        (lambda: [Flat()], 1),
        (lambda: [Silu()], 2),
        (lambda: [Silu(), Silu(), Silu(), Silu()], 3),  # the input of the network, and those of one layer
        (lambda: [Holding()], 4),
        (lambda: [nn.Sequential(Silu(), Silu()), Flat(), Holding()], 5),
    ],
)
def test_maps_take_memory_as_long_as_they_exist(layers: Callable[[], list[nn.Module]], maps: int) -> None:
    assert whole(nn.Sequential(*layers())) == maps * MAP


class Holding(Silu):
    """Keeps a map until it returns, though nothing reads it after its first use."""

    def forward(self, x: Tensor) -> Tensor:
        held = nn.functional.silu(x)
        return nn.functional.silu(nn.functional.silu(held))


class Attends(Silu):
    """All positions attend to all."""

    def forward(self, x: Tensor) -> Tensor:
        positions = x.flatten(2).transpose(1, 2).unsqueeze(1)
        return nn.functional.scaled_dot_product_attention(positions, positions, positions)


def test_whole_attention_takes_the_products_of_all_positions() -> None:
    positions = 16 * 8
    assert whole(Attends()) == 2 * MAP + 3 * MAP + 9 * positions**2


def test_many_products_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = 16 * 8
    monkeypatch.setattr(forecasts, "MANY_PRODUCTS", 4 * positions**2)
    assert whole(Attends()) == 5 * MAP + 9 * positions**2
    monkeypatch.setattr(forecasts, "MANY_PRODUCTS", 4 * positions**2 - 1)
    assert whole(Attends()) == 5 * MAP
    assert not attends_in_parts((positions, 4), (positions, 4))  # torch does so for four axes only


class Product(Silu):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2) @ x.flatten(2).transpose(1, 2)


def test_factors_of_a_product_may_be_copied() -> None:
    assert whole(Product()) == MAP + 4 * 4 * 4 + 2 * MAP
