"""`vaekit cache`: what is printed, exit statuses, and processes that are killed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaekit.latent_cache.open import open_cache
from vaekit.tasks.cache_data import STAMPS

Run = Callable[..., Any]
PAGE = (Path(__file__).parents[2] / "docs/cache.md").read_text("utf-8")


@pytest.fixture
def vae(vae_file: Path) -> Path:
    return vae_file


def write_images(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        values = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(values).resize((40, 32), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"Image {number}.")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 5)


SMALL = ("--size", 32, "--buckets", 8)


def test_a_table_and_one_json_object(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    (data / "broken.png").write_bytes(b"no image")
    first = run("cache", data, tmp_path / "out", "--vae", vae, *SMALL)
    assert first.code == 0 and "5 of 6" in first.out and "scale factor" in first.out and "broken.png" in first.err
    again = run("cache", data, tmp_path / "out", "--vae", vae, *SMALL, "--json").json
    assert (again["cached"], again["encoded"], again["quarantine"][0]["name"]) == (5, 0, "broken.png")
    assert again["statistics"]["scale_factor"] > 0 and again["dtype"] == "fp16"
    verified = run("cache", data, tmp_path / "out", "--vae", vae, *SMALL, "--verify", "--json").json
    assert verified["verification"]["items"] == 5 and not verified["verification"]["different"]
    assert verified["rounding"]["loss"] < 0.1


def test_a_dry_run_writes_nothing(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("cache", data, out, "--vae", vae, *SMALL, "--dry-run")
    assert said.code == 0 and "5, 5 to encode" in said.out and "limit" in said.out
    assert not out.exists()
    estimate = run("cache", data, out, "--vae", vae, *SMALL, "--dry-run", "--shard", 2, "--json").json
    assert (estimate["items"], estimate["shards"], estimate["sampled"]) == (5, 3, 5)
    assert estimate["hours"] > 0 and estimate["limit"] in ("VAE", "loader") and estimate["cores_needed"] >= 1
    run("cache", data, out, "--vae", vae, *SMALL)
    stored = sum(path.stat().st_size for path in (out / "shards").glob("*.safetensors"))
    assert 0.5 * stored < estimate["bytes"] < 2 * stored + 5 * 400


def test_a_dry_run_counts_what_is_there(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    past = time.time() - 60
    for path in data.iterdir():
        os.utime(path, (past, past))
    time.sleep(2.1)  # files that were changed just now are read again
    run("cache", data, tmp_path / "out", "--vae", vae, *SMALL)
    write_images(data, 2, first=5)
    estimate = run("cache", data, tmp_path / "out", "--vae", vae, *SMALL, "--dry-run", "--json").json
    assert (estimate["items"], estimate["known"], estimate["sampled"]) == (7, 5, 2)


def test_errors_are_those_of_vaekit(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def kind(*arguments: object) -> str:
        said = run("cache", *arguments, "--json")
        assert said.code == 1
        return str(said.json["error"]["kind"])

    assert kind(tmp_path / "nowhere", out, "--vae", vae) == "NotFound"
    assert kind(data, data, "--vae", vae) == "CannotWrite"
    assert kind(data, out, "--vae", vae, "--size", 2) == "BadPlan"
    assert kind(data, out, "--vae", vae, "--buckets", 6) == "BadPlan"
    assert kind(data, out, "--vae", vae, "--split", "test") == "NotFound"
    assert kind(data, out, "--vae", vae, "--verify-share", 2) == "BadPlan"
    assert kind(data, out, "--vae", vae, "--caption-column", "nothing") == "NotFound"
    assert run("cache", data, out, "--vae", vae, "--dtype", "fp4").code == 2
    assert run("cache", data, out, "--vae", vae, "--rank", 3, "--of", 2).code == 2
    assert not out.exists()
    run("cache", data, out, "--vae", vae, *SMALL)
    assert kind(data, out, "--vae", vae, *SMALL, "--dtype", "int8") == "CacheMismatch"
    assert kind(data, out, "--vae", vae, *SMALL, "--dtype", "int8", "--dry-run") == "CacheMismatch"


def test_latents_that_differ_are_an_error(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    run("cache", data, tmp_path / "out", "--vae", vae, *SMALL)
    (path,) = (tmp_path / "out/shards").glob("*.json")
    record = json.loads(path.read_text())
    record["items"].reverse()
    path.write_text(json.dumps(record))
    said = run("cache", data, tmp_path / "out", "--vae", vae, *SMALL, "--verify")
    assert said.code == 1 and "not those of the item" in said.err


def test_the_parts_of_an_array_make_the_whole(run: Run, vae: Path, data: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    run("cache", data, whole, "--vae", vae, *SMALL, "--shard", 2)
    parts = [
        run("cache", data, out, "--vae", vae, *SMALL, "--shard", 2, "--rank", rank, "--of", 2, "--json").json
        for rank in range(2)
    ]
    assert [part["encoded"] for part in parts] == [3, 2] and [part["unfinished_shards"] for part in parts] == [1, 0]
    assert content(out) == content(whole)


def content(out: Path) -> dict[str, bytes]:
    """The files of a cache by name, without those that only save time."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in (STAMPS, ".lock")
    }


@pytest.mark.nightly
def test_processes_that_are_killed_lose_nothing(vae: Path, tmp_path: Path) -> None:
    """At several moments, from before the plan to the last shard; each kill costs one shard at most."""
    data = write_images(tmp_path / "many", 60)
    whole, out = tmp_path / "whole", tmp_path / "out"
    command = [sys.executable, "-m", "vaekit", "cache", str(data), "{out}", "--vae", str(vae), "--shard", "4", "--json"]
    command += ["--size", "64", "--buckets", "8", "--device", "cpu"]

    def start(folder: Path) -> "subprocess.Popen[str]":
        filled = [str(folder) if each == "{out}" else each for each in command]
        return subprocess.Popen(filled, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    with start(whole) as process:
        json.loads(process.communicate()[0])
    kills = 0
    while kills < 8:
        before = len(list(out.glob("shards/*.json")))
        first = out / ("plans", "items.jsonl")[kills % 2]
        with start(out) as process:
            while process.poll() is None:
                now = len(list(out.glob("shards/*.json")))
                if now > before + kills % 3 or (not before and first.exists()):
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002 * (kills % 5))
            process.communicate()
        if process.returncode == 0:
            break
        kills += 1
    with start(out) as process:
        assert json.loads(process.communicate()[0])["cached"] == 60
    assert content(out) == content(whole)
    assert kills >= 5


def commands() -> list[str]:
    """The commands of the page, in order."""
    blocks = re.findall(r"^```\n(.*?)^```$|((?:^    .*\n)+)", PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for pair in blocks for block in pair for line in block.splitlines()]
    return [line for line in lines if line.startswith("vaekit cache ")]


def test_the_commands_of_the_page_run(
    run: Run, vae: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with the names of the page; `--runner ray` has tests of its own."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(data, work / "photos")
    shutil.copy(vae, work / "vae.safetensors")
    monkeypatch.chdir(work)
    found = [command for command in commands() if "--runner" not in command]
    assert len(found) >= 8
    for command in found:
        said = run(*shlex.split(command, comments=True)[1:])
        assert said.code == 0, f"{command}: {said.err}"
    assert len(open_cache(work / "latents")) == 5
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)
    assert len(blocks) == 2 and len(names["batch"]) >= 1
    assert names["source"].batch(torch.tensor([0]), 0).captions == ["Image 0."]
