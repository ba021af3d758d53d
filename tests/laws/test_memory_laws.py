"""A memory budget is kept: the one that a refusal names is sufficient and the smallest, and no run takes more than its
plan predicts, for any family, shape, direction and dtype."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from family_halves import HALVES
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_of_runs import alone, run, vae_named

from vaekit.errors import TooLittleMemory
from vaekit.runtime import whole_runner
from vaekit.runtime.engine import Engine
from vaekit.runtime.memory import memory_bytes
from vaekit.runtime.plan import Plan
from vaekit.runtime.runner import Runner

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the peak memory of a process is read from /proc")
TOLERANCE = 1.05
"""Measured peak memory relative to the predicted one."""


@cache
def engine_of(name: str, half: str, dtype: str, backend: str) -> Engine:
    """An engine for one half of a family's small example; it is traced once for all budgets."""
    return Engine(alone(vae_named(name), half.removesuffix("r")), Plan("cpu", dtype, backend=backend))


def runner_of(engine: Engine) -> Runner:
    """The runner of the half that it has."""
    runner = engine._decoder if engine._encoder is None else engine._encoder
    assert runner is not None
    return runner


def least(engine: Engine, size: tuple[int, int], budget: int) -> int | None:
    """The smallest sufficient budget that is named when this one, in bytes, is refused; None if it is accepted."""
    runner = runner_of(engine)
    runner.budget = runner.slabs.budget = runner.whole.budget = budget
    try:
        (plan,) = engine.explain(*size)
    except TooLittleMemory as refusal:
        named = [memory_bytes(each) for each in re.findall(r"[\d.]+ [MG]iB", refusal.expected)]
        assert len(named) == 1 and refusal.least <= named[0] <= refusal.least + max(2**20, refusal.least // 90)
        return refusal.least
    assert plan.predicted_peak is not None and plan.predicted_peak <= budget
    return None


@pytest.fixture(params=[0, whole_runner.LEAST_PRODUCTS], ids=["slabs", "whole"])
def threshold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whether small images stream or run whole."""
    monkeypatch.setattr(whole_runner, "LEAST_PRODUCTS", request.param)
    engine_of.cache_clear()
    yield
    engine_of.cache_clear()


SIZES = st.one_of(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 3), st.integers(1, 3000)),
    st.tuples(st.integers(1, 3000), st.integers(1, 3)),
)


def check_least(engine: Engine, size: tuple[int, int]) -> None:
    """Check that the budget that a refusal names is accepted, and that a slightly smaller one is refused."""
    enough = least(engine, size, 2**20)
    assert enough is not None
    assert least(engine, size, enough) is None
    assert least(engine, size, int(0.98 * enough)) == enough


@pytest.mark.parametrize(
    ("name", "half", "dtype", "size"),
    [
        ("kl", "decoder", "fp32", (1, 301)),
        ("tiny", "encoder", "bf16", (900, 2)),
        ("vq", "decoder", "fp16", (31, 33)),
    ],
)
def test_the_budget_that_a_refusal_names_is_the_smallest_that_is_accepted(
    name: str, half: str, dtype: str, size: tuple[int, int], threshold: None
) -> None:
    check_least(engine_of(name, half, dtype, "auto"), size)


@pytest.mark.nightly
@pytest.mark.parametrize("half", HALVES, ids=" ".join)
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_the_smallest_budget_of_any_family_and_size(half: tuple[str, str], dtype: str, threshold: None) -> None:
    @given(SIZES, st.sampled_from(["auto", "torch"]), st.sampled_from([1, 2, 3]))
    @settings(max_examples=10, deadline=None)
    def check(size: tuple[int, int], backend: str, threads: int) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            check_least(engine_of(*half, dtype, backend), size)
        finally:
            torch.set_num_threads(before)

    check()


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_what_a_plan_accepts_is_run_and_what_it_refuses_is_not(half: str, threshold: None) -> None:
    """The first run of an engine, which also compares the backends within the budget."""
    vae, size = alone(vae_named("kl"), half), (75, 2)
    with pytest.raises(TooLittleMemory) as refused:
        run(Engine(vae, Plan("cpu", memory="1MiB")), half, size)
    enough = refused.value.least
    run(Engine(vae, Plan("cpu", memory=enough)), half, size)
    with pytest.raises(TooLittleMemory) as again:
        run(Engine(vae, Plan("cpu", memory=int(0.98 * enough))), half, size)
    assert again.value.least == enough


def peaks(jobs: list[tuple[str, str, tuple[int, int], str, str, float | None]]) -> list[list[int]]:
    """Predicted peak, budget and measured peak of each job; see `peak_of_runs`."""
    script = Path(__file__).parents[1] / "support" / "peak_of_runs.py"
    done = subprocess.run([sys.executable, script, json.dumps(jobs)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return list(json.loads(done.stdout))


@LINUX
def test_runs_keep_to_their_plans() -> None:
    """A thin image and a square one by slabs in the smallest memory, and one that runs whole."""
    jobs = [
        ("wide", "decode", (1, 1200), "fp32", "auto", 1.0),
        ("wide", "encode", (90, 91), "fp32", "auto", 1.0),
        ("wide", "decode", (48, 40), "fp32", "torch", None),
    ]
    for job, (predicted, budget, peak) in zip(jobs, peaks(jobs), strict=True):
        assert peak <= TOLERANCE * predicted, job
        assert budget is None or peak <= TOLERANCE * budget, job


@LINUX
@pytest.mark.nightly
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("half", ["encode", "decode"])
@pytest.mark.parametrize("factor", [1.0, 1.5, None])
def test_runs_keep_to_their_plans_in_every_shape(dtype: str, backend: str, half: str, factor: float | None) -> None:
    sizes = [(1, 20000), (20000, 1), (2, 6000), (6000, 2), (17, 900), (397, 401)]
    jobs = [("wide", half, size, dtype, backend, factor) for size in sizes]
    jobs += [(name, half, size, dtype, backend, factor) for name in ("kl", "tiny", "dcae") for size in sizes[1:]]
    for job, (predicted, budget, peak) in zip(jobs, peaks(jobs), strict=True):
        assert peak <= TOLERANCE * predicted, job
        assert budget is None or peak <= TOLERANCE * budget, job
