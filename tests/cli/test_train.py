"""`vaekit train`: a run from the command line, stopped, gone on with, refused."""

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_data import encoded, fill_folder

import vaekit
from vaekit.datasets.open import open_dataset
from vaekit.domains.recipes import names

Run = Callable[..., Any]
SMALL = ["--set", "vae.net.hidden=[16]", "--set", "schedule.batch_size=10", "--set", "schedule.precision=fp32"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as MNIST's, of bars."""
    folder = tmp_path_factory.mktemp("digits")
    random = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 12)):
        pixels = np.zeros((count, 28, 28), dtype=np.uint8)
        for image in pixels:
            start = random.integers(0, 20)
            image[:, start : start + 8] = 255
        raw = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + pixels.tobytes()
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(raw))
    return folder


def test_a_run_from_the_command_line(run: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = run("train", "mnist-mlp", "--data", digits, "--out", out, "--samples", 200, *SMALL, "--json")
    assert said.code == 0, said.err
    assert said.json["results"]["nll"]["value"] > 0
    assert json.loads((out / "evaluation.json").read_text())["measured"] == 12
    assert json.loads((out / "recipe.json").read_text())["recipe"]["schedule"]["samples"] == 200
    assert sorted((out / "images").iterdir())
    assert vaekit.load(out).config.net.hidden == (16,)
    assert run("reconstruct", "--vae", out, next((out / "images").iterdir()), "--out", tmp_path).code in (0, 1)
    again = run("train", "mnist-mlp", "--data", digits, "--out", out, "--samples", 200, *SMALL)
    assert again.code == 0 and " 200 " in again.err


def test_the_last_look_is_at_codes_and_at_what_the_eye_sees(
    run: Run, lpips_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "images"
    fill_folder(data, {f"{i}.png": i for i in range(24)})
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(lpips_file))
    small = ["vae.encoder_widths=[8]", "vae.decoder_widths=[8]", "vae.codes=16", "schedule.batch_size=4"]
    changes = [word for change in (*small, "images.held_out=3") for word in ("--set", change)]
    for size, measured in ((32, {"code_usage", "code_perplexity"}), (64, {"code_usage", "code_perplexity", "lpips"})):
        out, sized = tmp_path / str(size), ["--set", f"images.size={size}"]
        said = run("train", "vq", "--data", data, "--out", out, "--samples", 8, *changes, *sized, "--json")
        assert said.code == 0, said.err
        found = {"lpips", "code_usage", "code_perplexity"} & said.json["results"].keys()
        assert found == measured
        assert not said.json["not_measured"]
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(tmp_path / "images"))
    again = run("train", "vq", "--data", data, "--out", out, "--samples", 8, *changes, *sized)
    assert again.code == 0 and "lpips" in again.err


def test_names_need_not_be_utf8(run: Run, tmp_path: Path) -> None:
    data = tmp_path / os.fsdecode(b"\xe9t\xe9")
    data.mkdir()
    for i in range(20):
        (data / os.fsdecode(b"caf\xe9%d.png" % i)).write_bytes(encoded(i) if i else b"broken")
    call = ["train", "mnist-mlp", "--data", data, "--out", tmp_path / "run", "--samples", 60, *SMALL]
    said = run(*call, "--set", "images.held_out=5")
    assert said.code == 0, said.err
    assert len((tmp_path / "run" / "skipped.txt").read_text("utf-8").splitlines()) == 1
    assert " 60 " in run(*call, "--set", "images.held_out=5").err


def test_a_run_inside_its_data_goes_on(run: Run, tmp_path: Path) -> None:
    data = fill_folder(tmp_path / "data", {f"{i}.png": i for i in range(20)})
    call = ["train", "mnist-mlp", "--data", data, "--samples", 60, *SMALL, "--set", "images.held_out=5"]
    assert run(*call, "--out", data / "run").code == 0
    assert list((data / "run" / "images").iterdir())
    said = run(*call, "--out", data / "run")
    assert said.code == 0 and " 60 " in said.err, said.err
    said = run(*call, "--out", data, "--json")
    assert said.code == 1 and said.json["error"]["remedy"]
    assert not (data / "recipe.json").exists()


def test_a_changed_recipe_is_refused_with_the_difference(run: Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("train", "mnist-mlp", "--data", digits, "--out", out, "--samples", 50, *SMALL).code == 0
    said = run("train", "mnist-mlp", "--data", digits, "--out", out, "--samples", 60, *SMALL, "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "RecipeChanged")
    for fact in ("schedule.samples", "50", "60"):
        assert fact in said.json["error"]["found"]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["no-such-recipe"], sorted(names())[0]),
        (["mnist-mlp", "--set", "vae.net.kind=spiral"], "spiral"),
        (["mnist-mlp", "--set", "schedule.batch_size=0.5"], "batch_size"),
        (["mnist-mlp", "--set", "objective.terms.magic.weight=1"], "magic"),
        (["mnist-mlp", "--set", "nonsense"], "nonsense"),
        (["mnist-mlp", "--set", "objective.terms.kl.weight=often"], "often"),
    ],
)
def test_what_cannot_be_trained_is_told_in_words(
    run: Run, digits: Path, tmp_path: Path, arguments: list[str], fact: str
) -> None:
    said = run("train", *arguments, "--data", digits, "--out", tmp_path / "run")
    assert said.code == 1
    assert fact in said.err
    assert "Traceback" not in said.err


def test_samples_and_minutes_exclude_each_other(run: Run, digits: Path, tmp_path: Path) -> None:
    said = run("train", "mnist-mlp", "--data", digits, "--out", tmp_path, "--samples", 5, "--minutes", 1)
    assert said.code == 2


@pytest.mark.nightly
def test_minutes_become_samples_that_a_second_call_finds(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def counted(path: Path, *others: Any) -> Any:
        looked.append(path)
        return open_dataset(path, *others)

    monkeypatch.setattr("vaekit.domains.images.domain.open_dataset", counted)
    command = ["train", "mnist-mlp", "--data", digits, "--out", tmp_path / "run", "--minutes", 0.02, *SMALL]
    said = run(*command)
    assert said.code == 0
    assert looked == [digits]
    count = json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]["schedule"]["samples"]
    asked = ["train", "mnist-mlp", "--data", digits, "--out", tmp_path / "asked", "--samples", count, *SMALL]
    assert run(*asked).code == 0
    both = [(tmp_path / name / "vae.safetensors").read_bytes() for name in ("run", "asked")]
    assert both[0] == both[1]
    again = run(*command)
    assert again.code == 0 and f" {count} " in again.err.replace(",", "")


@pytest.mark.parametrize(
    "asked", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)], ids=["ctrl-c", "a scheduler"]
)
def test_being_stopped_saves_and_the_same_command_goes_on(digits: Path, tmp_path: Path, asked: signal.Signals) -> None:
    command = [sys.executable, "-m", "vaekit", "train", "mnist-mlp", "--data", digits, *SMALL, "--samples", "6000"]
    out = tmp_path / "run"
    with subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (out / "log.jsonl").is_file() or not (out / "log.jsonl").read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(asked)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = (out / "log.jsonl").read_text()
    subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=environment, check=True)
    assert (out / "log.jsonl").read_text().startswith(before), "it went on, and did not begin again"


def test_the_help_page_lists_recipes_with_data_and_time(run: Run) -> None:
    said = run("train", "--help")
    for name in names():
        assert f"{name}:" in said.out


@pytest.mark.nightly
def test_torchrun_trains_one_model_in_two_processes(run: Run, digits: Path, tmp_path: Path) -> None:
    train = ["train", "mnist-mlp", "--data", digits, *SMALL, "--set", "schedule.micro_batch=5", "--samples", "100"]
    assert run(*train, "--out", tmp_path / "one").code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vaekit"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [*launch, *map(str, train), "--out", str(tmp_path / "two")], capture_output=True, text=True, env=environment
    )
    assert told.returncode == 0, told.stderr
    one, two = (vaekit.load(tmp_path / name).state_dict() for name in ("one", "two"))
    for name, tensor in one.items():
        assert (two[name] - tensor).abs().max() < 1e-4, name
    assert told.stderr.count("Written to") == 1
