"""Ray, on this machine and on clusters of several nodes of it: kills of workers, nodes, drivers and heads."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import counted_shards
import pytest
from counted_shards import SHARDS, begun, content, done, prepare, running
from PIL import Image
from small_index import small_images, square_model

from vaekit.errors import MissingPackage

pytestmark = pytest.mark.nightly
SUPPORT = Path(counted_shards.__file__).parent
KILLS = 20
LIMIT = 400.0
"""Seconds after which a test gives up; it takes a third of that on a machine without other work."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on the loopback interface, without the files of a user."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *filter(None, sys.path)]))
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # paths must be short
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        (Path(folder) / "ray").mkdir()  # which Ray's cluster for tests expects
        yield


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Every process of Ray that a test starts ends with it."""
    before = processes_of_ray()
    yield
    until(lambda: not processes_of_ray() - before, 90)


def processes_of_ray() -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if command.startswith(b"ray::") or b"/ray/core/src/ray/" in command:
                found.add(int(entry.name))
    return found


def until(condition: Callable[[], Any], limit: float = LIMIT) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


Driver = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Starts a run of the shards that are left, in a process that ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, address: str = "") -> "subprocess.Popen[str]":
        command = [sys.executable, counted_shards.__file__, str(folder), *filter(None, [address])]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """The exit status, and what a process wrote."""
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def assert_complete(folder: Path) -> None:
    assert done(folder) == set(range(SHARDS))
    assert all((folder / "done" / str(shard)).read_bytes() == content(shard) for shard in range(SHARDS))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without CPUs, and two nodes with one each, all of them here."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    arguments = {"num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        for _ in range(2):
            add_node(made)
        yield made
    finally:
        made.shutdown()


def add_node(cluster: Any) -> None:
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=80 << 20)


def kill_worker(folder: Path) -> None:
    """Kill a worker that processes a shard."""
    workers: set[int] = set()
    until(lambda: workers.update(running(folder).keys() & processes_of_ray()) or workers)
    with suppress(ProcessLookupError):
        os.kill(min(workers), signal.SIGKILL)


def test_kills_of_workers_nodes_and_drivers_cost_a_shard_each(cluster: Any, driver: Driver, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "run")
    allowed = 0
    process = driver(folder, cluster.address)
    for kill in range(KILLS):
        wanted = (kill + 1) * (SHARDS - 20) // KILLS
        until(lambda wanted=wanted: len(done(folder)) >= wanted)
        assert process.poll() is None
        if kill % 3 == 0:
            kill_worker(folder)
            allowed += 1
        elif kill % 3 == 1:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            add_node(cluster)
            allowed += 1
        else:
            process.kill()
            finish(process)
            process = driver(folder, cluster.address)  # the workers of the killed one finish what they have
    status, out, err = finish(process)
    assert (status, out) == (0, ""), err
    assert_complete(folder)
    counts = begun(folder)
    assert set(counts) == set(range(SHARDS))
    assert counts.total() - SHARDS <= allowed
    assert "Traceback" not in err


def test_a_lost_head_is_named_and_the_same_call_goes_on(cluster: Any, driver: Driver, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "run")
    process = driver(folder, cluster.address)
    until(lambda: len(done(folder)) > 10)
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    cluster.remove_node(cluster.head_node, allow_graceful=False)
    status, out, err = finish(process)
    assert (status, out) == (1, "")
    assert "ClusterFailed" in err and "does not answer" in err and "Traceback" not in err
    status, out, err = finish(driver(folder))
    assert (status, out) == (0, ""), err
    assert_complete(folder)
    assert begun(folder).total() - SHARDS <= 2


def test_here_a_killed_driver_leaves_nothing_running_and_the_same_call_goes_on(driver: Driver, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "run")
    before = processes_of_ray()
    process = driver(folder)
    until(lambda: len(done(folder)) > 10)
    process.kill()
    finish(process)
    until(lambda: not processes_of_ray() - before, 90)
    assert begun(folder).keys() == done(folder) and begun(folder).total() == len(done(folder))
    (folder / "kill-190").touch()
    process = driver(folder)
    until(lambda: begun(folder)[190])
    (folder / "kill-190").unlink()
    status, out, err = finish(process)
    assert (status, out) == (0, ""), err
    assert err.count("died") == 1 and "190" in err
    assert_complete(folder)
    assert begun(folder).total() - SHARDS == 1


@pytest.mark.parametrize(("name", "error", "times"), [("fail-5", "BadItem", 1), ("kill-5", "ShardFailed", 3)])
def test_a_shard_that_fails_is_named(driver: Driver, tmp_path: Path, name: str, error: str, times: int) -> None:
    folder = prepare(tmp_path / "run")
    (folder / name).touch()
    status, out, err = finish(driver(folder))
    assert (status, out) == (1, "")
    assert f"{error}: " in err and " 5" in err and "Traceback" not in err
    assert begun(folder)[5] == times


def test_a_cluster_that_is_not_there_is_named(driver: Driver, tmp_path: Path) -> None:
    status, out, err = finish(driver(prepare(tmp_path / "run"), "127.0.0.1:9"))
    assert (status, out) == (1, "")
    assert "ClusterFailed" in err and "127.0.0.1:9" in err and "Traceback" not in err


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, values in enumerate(small_images(count)):
        Image.fromarray(values).save(folder / f"{number:03}.png")
    return folder


def test_a_cache_is_the_same_after_kills(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", SHARDS)
    square_model(tmp_path / "vae.safetensors")
    arguments = ["--vae", tmp_path / "vae.safetensors", "--device", "cpu", "--shard", "1"]

    def command(name: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "vaekit", *map(str, ("cache", data, tmp_path / name, *arguments, *more))]

    def shards() -> int:
        return len(list((tmp_path / "ray" / "shards").glob("*.json")))

    before = processes_of_ray()
    run = partial(subprocess.Popen, command("ray", "--runner", "ray", "--workers", "2"), stderr=subprocess.PIPE)
    for kill in range(3):  # of the driver
        process = run()
        try:
            for target in (20 + 60 * kill, 40 + 60 * kill):
                until(lambda target=target, process=process: shards() >= target or process.poll() is not None)
                workers = [each for each in processes_of_ray() - before if name_of(each).startswith(b"ray::Worker")]
                if workers:
                    os.kill(workers[0], signal.SIGKILL)
            until(lambda kill=kill, process=process: shards() >= 60 * (kill + 1) or process.poll() is not None)
        finally:
            process.kill()
            process.communicate()
    status, _, err = finish(run(text=True))
    assert status == 0, err
    subprocess.run(command("local"), check=True, capture_output=True)
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "shards").iterdir()} for name in ("local", "ray")
    )
    assert len(one) == 2 * SHARDS and one == other


def name_of(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def test_the_command_line_prints_one_object(tmp_path: Path) -> None:
    """And the same numbers as in one process."""
    write_images(tmp_path / "images", 6)
    square_model(tmp_path / "vae.safetensors")
    data, vae = tmp_path / "images", ["--vae", tmp_path / "vae.safetensors", "--device", "cpu", "--json"]
    verbs: dict[str, list[Any]] = {
        "evaluate": ["evaluate", "--data", data, *vae, "--batch", "2", "--size", "32", "--out"],
        "index": ["index", data, *vae, "--out"],
        "score": ["score", data, *vae, "--out"],
    }
    for name, arguments in verbs.items():
        found = []
        for runner in (["--runner", "local"], ["--runner", "ray", "--workers", "2"]):
            command = [sys.executable, "-m", "vaekit", *arguments, tmp_path / f"{name}-{runner[1]}", *runner]
            ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=LIMIT)
            assert ended.returncode == 0, ended.stderr
            assert ended.stderr.count("\n") < 6, ended.stderr
            found.append(json.loads(ended.stdout))
        if name == "evaluate":
            assert found[0]["results"] == found[1]["results"]
    for file in ("index-{}/vectors.f32", "score-{}"):
        one, other = ((tmp_path / file.format(name)).read_bytes() for name in ("local", "ray"))
        assert one == other


def test_without_ray_the_line_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaekit.cluster.ray_runner import RayRunner
    from vaekit.shards import Work

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackage, match=r"pip install 'vaekit\[ray\]'"):
        list(RayRunner().run(Work(lambda: abs), [1]))
