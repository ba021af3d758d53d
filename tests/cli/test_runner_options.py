"""`--runner`, `--address`, `--workers`, `--rank` and `--of`: what they are read as, and what is refused."""

from collections.abc import Callable

import pytest
import typer

from vaekit.cli.runner_options import ARRAY, PartOptions, RunnerName, RunnerOptions
from vaekit.cluster.ray_runner import RayRunner
from vaekit.shards import InProcess


def array(monkeypatch: pytest.MonkeyPatch, *values: object) -> None:
    for name, value in zip(ARRAY, values, strict=True):
        monkeypatch.setenv(name, str(value))


@pytest.fixture(autouse=True)
def no_array(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ARRAY:
        monkeypatch.delenv(name, raising=False)


def test_the_runner_is_this_process_or_ray() -> None:
    assert RunnerOptions(RunnerName.LOCAL, None, None).make(None) == InProcess()
    made = RunnerOptions(RunnerName.RAY, "10.0.0.1:6379", 3).make("cpu")
    assert isinstance(made, RayRunner)
    assert (made.address, made.workers, made.use_gpus) == ("10.0.0.1:6379", 3, False)


@pytest.mark.parametrize("device", [None, "cuda"])
def test_workers_have_gpus_unless_another_device_is_given(device: str | None) -> None:
    made = RunnerOptions(RunnerName.RAY, None, None).make(device)
    assert isinstance(made, RayRunner) and made.use_gpus


@pytest.mark.parametrize(
    ("options", "device", "hint"),
    [
        (RunnerOptions(RunnerName.LOCAL, "10.0.0.1:6379", None), None, "--address"),
        (RunnerOptions(RunnerName.LOCAL, None, 2), None, "--workers"),
        (RunnerOptions(RunnerName.RAY, None, None), "cuda:1", "--device"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: RunnerOptions, device: str | None, hint: str) -> None:
    with pytest.raises(typer.BadParameter) as raised:
        options.make(device)
    assert raised.value.param_hint == hint


@pytest.mark.parametrize(("rank", "of", "chosen"), [("0", None, (0, 1)), ("0", 1, (0, 1)), ("6", 7, (6, 7))])
def test_a_part_is_chosen_by_its_number(rank: str, of: int | None, chosen: tuple[int, int]) -> None:
    assert PartOptions(rank, of).chosen() == chosen


@pytest.mark.parametrize(
    ("rank", "of", "hint"),
    [("1", None, "--rank"), ("2", 2, "--rank"), ("-1", 2, "--rank"), ("x", 2, "--rank"), ("²", 3, "--rank")],
)
def test_a_part_that_does_not_exist_is_refused(rank: str, of: int | None, hint: str) -> None:
    with pytest.raises(typer.BadParameter) as raised:
        PartOptions(rank, of).chosen()
    assert raised.value.param_hint == hint


@pytest.mark.parametrize(
    ("tasks", "count"), [(range(5), 5), (range(1, 6), 5), (range(3, 10, 3), 3), ([7], 1), ([0, 40], 2)]
)
def test_tasks_of_an_array_are_numbered(monkeypatch: pytest.MonkeyPatch, tasks: list[int], count: int) -> None:
    for rank, task in enumerate(tasks):
        array(monkeypatch, task, min(tasks), max(tasks), len(tasks))
        assert PartOptions("auto", None).chosen() == PartOptions("auto", count).chosen() == (rank, count)


def gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    array(monkeypatch, 1, 0, 4, 3)  # 0, 1, 4


def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    array(monkeypatch, "x", 0, 4, 5)


def nothing(_: pytest.MonkeyPatch) -> None:
    """No job array."""


@pytest.mark.parametrize("environment", [gaps, damaged, nothing])
def test_tasks_that_cannot_be_numbered_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    environment(monkeypatch)
    with pytest.raises(typer.BadParameter, match="SLURM_ARRAY_TASK_ID") as raised:
        PartOptions("auto", None).chosen()
    assert raised.value.param_hint == "--rank"


def test_another_number_of_parts_than_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    array(monkeypatch, 0, 0, 4, 5)
    with pytest.raises(typer.BadParameter) as raised:
        PartOptions("auto", 6).chosen()
    assert raised.value.param_hint == "--of"
