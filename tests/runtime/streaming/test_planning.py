"""Plans within a budget: rows per slab, what is kept prepared, and the peak, recounted stage by stage."""

import re
from collections.abc import Callable

import pytest
import torch
from family_halves import half_of
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from small_networks import NAMES, each_network, stages_of
from torch import Tensor, nn

from vaekit.errors import BadPlan, TooLittleMemory
from vaekit.runtime.backends import Convolvers, TorchBackend
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan
from vaekit.runtime.streaming import planning
from vaekit.runtime.streaming.executor import StageRows
from vaekit.runtime.streaming.forecast import StageForecast
from vaekit.runtime.streaming.operations import Convolve
from vaekit.runtime.streaming.planning import (
    ALLOCATOR,
    BASE,
    HEADROOM,
    LEAST_SLAB,
    SLAB,
    TRIM_THRESHOLD,
    RunPlan,
    heaps,
    peak_of,
    plan_run,
    prepared_sizes,
    products,
    slab_options,
    slab_rows,
    trims_after,
    with_schedules,
)
from vaekit.runtime.streaming.schedule import Stages
from vaekit.vae import VAE

Images = Callable[[int, int, int], Tensor]
MIB = 2**20
HALF = each_network()
CONVOLVERS = Convolvers(TorchBackend())


def engine(vae: VAE, memory: str | int | None = None, backend: str = "torch") -> Engine:
    return Engine(vae, Plan(device="cpu", memory=memory, backend=backend))


def least_for(vae: VAE, height: int, width: int) -> int:
    """The smallest budget that the message of a refusal names, in MiB."""
    with refuses(BadPlan, "1 MiB") as refused:
        engine(vae, MIB).explain(height, width)
    return max(int(amount) for amount in re.findall(r"(\d+) MiB", str(refused.value)))


@given(st.integers(30, 90), st.integers(30, 90), st.floats(0, 1))
@settings(max_examples=2, deadline=None)
def test_any_budget_that_is_not_refused_gives_the_same(
    vae: VAE, images: Images, height: int, width: int, more: float
) -> None:
    x = images(1, height, width)
    memory = int((least_for(vae, height, width) + 8 * more) * MIB)
    freely, sparingly = engine(vae).reconstruct(x), engine(vae, memory).reconstruct(x)
    assert (freely - sparingly).abs().max() <= 1e-4


def test_the_budget_that_a_refusal_names_will_do(vae: VAE, tiny_vae: VAE, images: Images) -> None:
    x = images(1, 600, 400)
    for member in (vae, tiny_vae):
        running = engine(member, f"{least_for(member, 600, 400)}MiB")
        plans = running.explain(600, 400)
        assert all(plan.predicted_peak is not None and plan.predicted_peak <= plan.budget for plan in plans)
        assert running.reconstruct(x).shape == x.shape


# Plans for small networks


def large(name: str = "residual") -> Stages:
    """A network on a map of 800 x 400, whose maps take tens of MiB."""
    return stages_of(HALF(name), 200, 100)


def least(stages: Stages, fixed: int, parts: int) -> int:
    """The smallest budget that a refusal names, in bytes."""
    with refuses(TooLittleMemory, "1 MiB", "--memory") as refused:
        plan_run(stages, CONVOLVERS, MIB, fixed, parts)
    return refused.value.least


def recounted(plan: RunPlan, fixed: int) -> list[int]:
    """For each stage, what is taken by all that a plan knows of, in bytes."""
    # A band is in memory while it is written or read, whatever the limit.
    maps = [
        stage.maps if schedule.maps_in_memory is None else schedule.maps_in_memory + 2 * stage.band
        for schedule, stage in zip(plan.schedules, plan.stages, strict=True)
    ]
    return [rest + each for rest, each in zip(beside_maps(plan, fixed), maps, strict=True)]


def beside_maps(plan: RunPlan, fixed: int) -> list[int]:
    """The same without maps."""
    taken, heap = [], 0.0
    for schedule, stage in zip(plan.schedules, plan.stages, strict=True):
        heap = max(heap, ALLOCATOR * stage.workspace)
        taken.append(fixed + BASE + plan.prepared + stage.wholes + int(heap))
        if schedule.trim_heap:
            heap = 0.0
    return taken


def with_buffers(plan: RunPlan, fixed: int) -> list[int]:
    """The same with all buffers that maps may lie in, free ones too."""
    return [rest + schedule.buffers for rest, schedule in zip(beside_maps(plan, fixed), plan.schedules, strict=True)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fixed", [0, 7 * MIB])
def test_without_a_budget_everything_stays_in_memory(name: str, fixed: int) -> None:
    stages = large(name)
    plan = plan_run(stages, CONVOLVERS, None, fixed, 2)
    assert plan.to_file == 0
    assert all(schedule.maps_in_memory is None and schedule.parts == 2 for schedule in plan.schedules)
    assert plan.peak == max(recounted(plan, fixed))
    assert [schedule.slab_rows for schedule in plan.schedules] == [
        slab_rows(stages.steps, stage, SLAB) for stage in stages.stages
    ]


@pytest.mark.parametrize("name", ["residual", "attention", "hourglass", "two branches"])
@pytest.mark.parametrize("more", [0, 3, 10, 25, 80])
@pytest.mark.parametrize("parts", [1, 3])
def test_no_stage_takes_more_than_the_budget(name: str, more: int, parts: int) -> None:
    stages, fixed = large(name), MIB
    budget = least(stages, fixed, parts) + more * MIB
    plan = plan_run(stages, CONVOLVERS, budget, fixed, parts)
    assert max(recounted(plan, fixed)) <= HEADROOM * budget
    assert plan.peak <= HEADROOM * budget
    assert max(with_buffers(plan, fixed)) <= HEADROOM * budget
    limits = [schedule.maps_in_memory for schedule in plan.schedules]
    assert (plan.to_file > 0) is any(limit is not None for limit in limits)
    for schedule, stage in zip(plan.schedules, plan.stages, strict=True):
        assert schedule.maps_in_memory is None or schedule.maps_in_memory < stage.maps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("fixed", [0, 5 * MIB])
def test_the_least_budget_is_enough_and_a_little_less_is_not(name: str, parts: int, fixed: int) -> None:
    stages = stages_of(HALF(name), 60, 40)
    enough = least(stages, fixed, parts)
    assert plan_run(stages, CONVOLVERS, enough, fixed, parts).peak <= enough
    with refuses(TooLittleMemory) as refused:
        plan_run(stages, CONVOLVERS, enough - 2 * MIB, fixed, parts)
    assert refused.value.least == enough


def test_less_memory_means_the_file_first_and_smaller_slabs_then() -> None:
    stages = large()
    plans = [plan_run(stages, CONVOLVERS, None if budget is None else budget * MIB, 0, 1) for budget in (None, 90, 40)]
    rows = [[schedule.slab_rows for schedule in plan.schedules] for plan in plans]
    assert rows[0] == rows[1] and plans[1].to_file > plans[0].to_file == 0
    assert max(rows[2]) < max(rows[1]) and plans[2].to_file > 0


class Prepares(TorchBackend):
    """What is prepared takes 30 MiB for each convolution of 3x3."""

    def prepared_bytes(self, convolution: Convolve) -> int:
        return 30 * MIB if convolution.weight.shape[2] == 3 else 0


def test_convolutions_stay_prepared_where_memory_allows() -> None:
    stages, convolvers = large("residual"), Convolvers(Prepares())  # four of them, in four stages
    operations = {i: step.operation for i, step in enumerate(stages.steps) if isinstance(step.operation, Convolve)}
    steps = {i for i, operation in operations.items() if operation.weight.shape[2] == 3}
    assert prepared_sizes(stages, convolvers) == dict.fromkeys(steps, 30 * MIB)
    assert prepared_sizes(stages, CONVOLVERS) == {}
    free = plan_run(stages, convolvers, None, 0, 1)
    assert (free.ready, free.prepared) == (frozenset(steps), 120 * MIB)
    assert free.peak == max(recounted(free, 0))
    with refuses(TooLittleMemory) as refused:
        plan_run(stages, convolvers, MIB, 0, 1)
    tight = plan_run(stages, convolvers, refused.value.least, 0, 1)
    assert (tight.ready, tight.prepared) == (frozenset(), 0)
    assert max(stage.workspace for stage in tight.stages) >= 30 * MIB  # each stage prepares its own
    budget = int(free.peak / HEADROOM) + 1
    kept = plan_run(stages, convolvers, budget, 0, 1)
    assert kept.prepared == 120 * MIB and max(with_buffers(kept, 0)) <= HEADROOM * budget


def test_stages_give_memory_back_where_much_less_is_needed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = large()
    assert not any(schedule.trim_heap for schedule in plan_run(stages, CONVOLVERS, None, 0, 1).schedules)
    monkeypatch.setattr(planning, "TRIM_THRESHOLD", MIB)
    plan = plan_run(stages, CONVOLVERS, None, 0, 1)
    back = [trims_after(plan.stages, number) for number in range(len(plan.stages))]
    assert [schedule.trim_heap for schedule in plan.schedules] == back and any(back)
    assert plan.peak == max(recounted(plan, 0))


def test_too_little_memory_returns_the_bytes_that_are_needed() -> None:
    stages = large()
    schedules = [StageRows(4)] * len(stages.stages)
    enough = with_schedules(stages, schedules, CONVOLVERS, MIB, 0)
    assert isinstance(enough, int)
    assert isinstance(with_schedules(stages, schedules, CONVOLVERS, enough - 1, 0), int)
    plan = with_schedules(stages, schedules, CONVOLVERS, enough, 0)
    assert isinstance(plan, RunPlan)
    assert max(recounted(plan, 0)) == enough
    assert min(schedule.maps_in_memory or 0 for schedule in plan.schedules) == 0


# The parts of a plan


def test_ways_go_from_fast_to_small() -> None:
    for parts in (1, 3):
        found = list(slab_options(parts))
        assert found[0] == (SLAB, parts)
        sizes = [slab for slab, side_by_side in found if side_by_side == parts]
        assert sizes[-1] >= LEAST_SLAB > sizes[-1] // 2 or parts == 1
        assert [slab for slab, _ in found] == [SLAB >> n for n in range(len(found))]
        assert [side_by_side for _, side_by_side in found[-1:]] == [1]


def one_convolution(channels: int, width: int = 16) -> Stages:
    """Convolutions of a map of 64 rows, `width` columns."""
    torch.manual_seed(0)
    return stages_of(half_of(nn.Conv2d(4, channels, 3, padding=1), 4, 4), 16, width // 4)


@pytest.mark.parametrize(("slab", "rows"), [(1 << 20, 1024), (1 << 14, 16), (1 << 12, 4), (1 << 11, 4), (64, 1)])
def test_a_slab_holds_so_many_bytes_of_the_kept_map(slab: int, rows: int) -> None:
    stages = one_convolution(16)  # a row of the result has 1024 bytes
    assert slab_rows(stages.steps, stages.stages[0], slab) == rows


@pytest.mark.parametrize(("slab", "rows"), [(5 * 1024, 4), (6 * 1024, 8), (7 * 1024, 8), (3 * 1024, 4), (2047, 1)])
def test_rows_are_rounded_to_tiles(slab: int, rows: int) -> None:
    stages = one_convolution(16)
    assert slab_rows(stages.steps, stages.stages[0], slab) == rows


def test_what_is_made_on_the_way_may_be_twice_as_large() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 64, 1), nn.Conv2d(64, 4, 1))
    stages = stages_of(half_of(network, 4, 4), 16, 4)
    # A row of the result has 256 bytes, one of the value before it 4096: a slab is counted as if of 2048.
    assert slab_rows(stages.steps, stages.stages[0], 1 << 14) == 8


def test_padding_does_not_count() -> None:
    torch.manual_seed(0)
    stages = stages_of(half_of(nn.Conv2d(4, 1, 7, padding=3), 4, 4), 16, 4)
    # A row of the input has 256 bytes and counts half; a padded one would have 352.
    assert slab_rows(stages.steps, stages.stages[0], 1 << 12) == 32


def test_long_chains_have_slabs_half_as_large() -> None:
    torch.manual_seed(0)
    two = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(2)))
    three = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(3)))
    rows = []
    for network in (two, three):
        stages = stages_of(half_of(network, 4, 4), 16, 4)
        rows.append(slab_rows(stages.steps, stages.stages[0], 1 << 12))
    assert rows == [16, 8]


def test_a_stage_without_rows_has_slabs_of_one() -> None:
    stages = stages_of(HALF("two branches"))
    assert slab_rows(stages.steps, planning.Stage((), ()), SLAB) == 1


def test_products_are_those_of_all_convolutions() -> None:
    stages = stages_of(HALF("hourglass"), 3, 2)  # a map of 12 x 8
    down, mid, up = 6 * 4 * 8 * (4 * 9), 6 * 4 * 8 * (8 * 9), 12 * 8 * 4 * (8 * 9)
    assert products(stages) == down + mid + up


def forecasts(*workspaces: int) -> list[StageForecast]:
    return [StageForecast(each * MIB, 0, 0, 0) for each in workspaces]


def test_slabs_stay_taken_until_they_are_given_back() -> None:
    much = TRIM_THRESHOLD // MIB
    found = forecasts(10, 5, much + 21, 20, 30, 1)
    assert [trims_after(found, number) for number in range(6)] == [False] * 6
    assert heaps(found) == [
        int(ALLOCATOR * MIB * each) for each in (10, 10, much + 21, much + 21, much + 21, much + 21)
    ]
    found = forecasts(10, much + 31, 20, 30, 1)
    assert [trims_after(found, number) for number in range(5)] == [False, True, False, False, False]
    assert heaps(found) == [int(ALLOCATOR * MIB * each) for each in (10, much + 31, 20, 30, 30)]
    assert not trims_after(forecasts(much + 10, much + 9, 1), 0)
    assert trims_after(forecasts(much + 1), 0) and not trims_after(forecasts(much), 0)


def test_the_peak_is_that_of_the_stage_that_takes_most() -> None:
    found = [StageForecast(10, 5, 100, 7), StageForecast(20, 50, 80, 7), StageForecast(5, 0, 120, 7)]
    counted = [16 + 5 + 100, 32 + 50 + 80, 32 + 0 + 120]
    assert peak_of(found, 3, None) == BASE + 3 + max(counted)
    assert peak_of(found, 3, BASE + 9) == BASE + 9
    assert peak_of(found, 3, 2 * BASE) == BASE + 3 + max(counted)
