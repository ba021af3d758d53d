"""A run: begun, killed, gone on with, finished; refused where it would do something else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import lacks, refuses
from torch import multiprocessing

import vaekit
from vaekit.errors import BadCheckpoint, CannotWrite, RecipeChanged, TrainingStopped
from vaekit.training import state as state_module
from vaekit.training.data import Stream, Tensors
from vaekit.training.log import LOG, LogEvent
from vaekit.training.processes import ProcessGroup
from vaekit.training.recipe import Recipe
from vaekit.training.run import CHECKPOINTS, RESULT, Run, run_training, samples_for_duration, train_in_memory
from vaekit.training.state import TENSORS, VALUES, newest_checkpoint, saved_checkpoints


def run_of(recipe: Recipe, stream: Stream, folder: Path, **changes: Any) -> Run:
    items = stream.source.items[:6]  # type: ignore[attr-defined]
    run = Run(
        recipe,
        folder,
        stream,
        {"items": 60},
        recipe.objective(),
        recipe.schedule(),
        items,
        log_every=5,
        validate_every=10,
    )
    return replace(run, save_seconds=0.0, **changes)


class Cut(Exception):
    """Stands for a kill."""


def cut_after(samples: int) -> Any:
    def tell(news: LogEvent) -> None:
        if news.samples >= samples and not news.held_out:
            raise Cut

    return tell


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return vaekit.load(folder).state_dict()


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_the_folder_holds_what_it_should(small_recipe: Recipe, stream: Stream, tmp_path: Path) -> None:
    result = run_training(run_of(small_recipe, stream, tmp_path / "run"))
    folder = tmp_path / "run"
    assert_same(weights(folder), result.state_dict())
    assert vaekit.load(folder).normalization == result.normalization
    assert vaekit.load(folder / "averages" / "0.5.safetensors").config == result.config
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    assert [line["samples"] for line in lines if "held_out" not in line] == list(range(40, 321, 40))
    assert [line["samples"] for line in lines if "held_out" in line] == [80, 160, 240, 320]
    assert len(saved_checkpoints(folder / CHECKPOINTS)) == 2


def test_training_in_memory_gives_the_same_bits_and_no_files(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    result = train_in_memory(run_of(small_recipe, stream, tmp_path / "run"))
    assert not (tmp_path / "run").exists() and not result.training
    expected = run_training(run_of(small_recipe, stream, tmp_path / "run"))
    assert_same(result.state_dict(), expected.state_dict())
    assert result.normalization == expected.normalization


def test_the_normalization_makes_latents_standard(small_recipe: Recipe, stream: Stream, tmp_path: Path) -> None:
    plain = Stream(Tensors(stream.source.items), 3)  # type: ignore[attr-defined]
    vae = run_training(run_of(small_recipe, plain, tmp_path))
    assert vae.normalization is not None
    with torch.no_grad():
        latents = vae.normalize(vae.encode(plain.batch(0, 60)).mode)
    assert latents.mean().item() == pytest.approx(0, abs=1e-3)
    assert latents.std(correction=0).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("cuts", [[80], [40, 200]])
def test_a_run_that_was_cut_ends_with_the_same_bits(
    small_recipe: Recipe, stream: Stream, tmp_path: Path, cuts: list[int]
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path / "whole"))
    for cut in cuts:
        with pytest.raises(Cut):
            run_training(run_of(small_recipe, stream, tmp_path / "cut"), cut_after(cut))
    said: list[str] = []
    run_training(run_of(small_recipe, stream, tmp_path / "cut"), say=said.append)
    assert said
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    for name in (TENSORS,):
        a, b = (tmp_path / each / CHECKPOINTS / f"{320:012d}" / name for each in ("whole", "cut"))
        assert a.read_bytes() == b.read_bytes()


def test_a_trimmed_run_ends_with_the_same_bits_and_is_another_run(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    table = {**small_recipe.table, "schedule": {**small_recipe.table["schedule"], "samples": 120}}
    trimmed = Recipe("small", {**table, "objective": {**table["objective"], "trim": 0.25}})
    run_training(run_of(trimmed, stream, tmp_path / "whole"))
    with pytest.raises(Cut):
        run_training(run_of(trimmed, stream, tmp_path / "cut"), cut_after(80))
    with refuses(RecipeChanged, "trim"):
        run_training(run_of(Recipe("small", table), stream, tmp_path / "cut"))
    run_training(run_of(trimmed, stream, tmp_path / "cut"))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_the_normalization_is_measured_in_sight_and_can_be_stopped(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path / "whole"))
    seen: list[tuple[int, int]] = []
    said: list[str] = []
    run = run_of(small_recipe, stream, tmp_path / "stopped")
    with pytest.raises(TrainingStopped):
        run_training(run, say=said.append, stop=lambda: len(seen) == 3, measuring=lambda *counts: seen.append(counts))
    assert seen == [(8, 120), (16, 120), (24, 120)]
    assert not lacks(said[-1], "60", "2")
    assert not (tmp_path / "stopped" / RESULT).exists()
    run_training(run, measuring=lambda *counts: seen.append(counts))
    assert seen[-1] == (120, 120)
    assert (tmp_path / "stopped" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()


def test_a_run_whose_recipe_is_described_in_other_words_is_resumed(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    described = Recipe("small", {**small_recipe.table, "about": "A VAE", "reached": "90 nats"})
    run_training(run_of(described, stream, tmp_path))
    before = (tmp_path / RESULT).read_bytes()
    other = Recipe("small", {**small_recipe.table, "about": "A small VAE", "takes": "a second"})
    run_training(run_of(other, stream, tmp_path))
    assert (tmp_path / RESULT).read_bytes() == before


def test_a_finished_run_called_again_changes_nothing(small_recipe: Recipe, stream: Stream, tmp_path: Path) -> None:
    run_training(run_of(small_recipe, stream, tmp_path))
    before = (tmp_path / RESULT).read_bytes()
    run_training(run_of(small_recipe, stream, tmp_path))
    assert (tmp_path / RESULT).read_bytes() == before


def test_lines_of_the_log_behind_the_checkpoint_are_written_again(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path))
    for path in saved_checkpoints(tmp_path / CHECKPOINTS):
        if path.name.endswith("320"):
            shutil.rmtree(path)
    with open(tmp_path / LOG, "a") as log:
        log.write('{"samples": 32')  # cut short by a crash
    run_training(run_of(small_recipe, stream, tmp_path))
    samples = [json.loads(line)["samples"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert samples == sorted(samples)
    assert samples.count(320) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no words", "empty"])
def test_of_damaged_checkpoints_the_one_before_is_taken(
    small_recipe: Recipe, stream: Stream, tmp_path: Path, damage: str
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path / "whole"))
    with pytest.raises(Cut):
        run_training(run_of(small_recipe, stream, tmp_path / "cut"), cut_after(160))
    last = max(saved_checkpoints(tmp_path / "cut" / CHECKPOINTS))
    raw = (last / TENSORS).read_bytes()
    if damage == "truncated":
        (last / TENSORS).write_bytes(raw[: len(raw) // 2])
    elif damage == "flipped":
        (last / TENSORS).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif damage == "no words":
        (last / VALUES).unlink()
    else:
        (last / VALUES).write_text("")
    said: list[str] = []
    run_training(run_of(small_recipe, stream, tmp_path / "cut"), say=said.append)
    assert len(said) >= 2 and "damaged" in said[0]
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize("what", ["recipe", "seed", "data"])
def test_another_recipe_seed_or_data_is_refused_with_the_difference(
    small_recipe: Recipe, table: dict[str, Any], stream: Stream, tmp_path: Path, what: str
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if what == "recipe":
        table["schedule"]["learning_rate"] = 1e-3
        changed = run_of(Recipe("small", table), stream, tmp_path)
    elif what == "seed":
        changed = run_of(small_recipe, Stream(stream.source, 4), tmp_path)
    else:
        changed = replace(run_of(small_recipe, stream, tmp_path), data={"items": 61})
    facts = {"recipe": ["learning_rate", "0.005", "0.001"], "seed": ["seed", "3", "4"], "data": ["items", "60", "61"]}
    with refuses(RecipeChanged, *facts[what]):
        run_training(changed)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_disk_that_fills_leaves_the_last_checkpoint(
    small_recipe: Recipe, stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_training(run_of(small_recipe, stream, tmp_path / "whole"))
    real, calls = state_module.write_tensors, []

    def full(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 12:
            arguments[1].write_bytes(b"half")
            raise OSError(28, os.strerror(28))
        real(*arguments)

    monkeypatch.setattr(state_module, "write_tensors", full)
    with refuses(CannotWrite, "No space left"):
        run_training(run_of(small_recipe, stream, tmp_path / "cut"))
    assert [path.name for path in (tmp_path / "cut" / CHECKPOINTS).iterdir() if not path.name.isdecimal()] == []
    found = newest_checkpoint(tmp_path / "cut" / CHECKPOINTS, pytest.fail)
    assert found is not None and found[1]["samples"] == 96
    monkeypatch.setattr(state_module, "write_tensors", real)
    run_training(run_of(small_recipe, stream, tmp_path / "cut"))
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


PROGRAM = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from vaekit.training.data import Stream, Tensors
from vaekit.training.recipe import Recipe
from vaekit.training.run import Run, run_training
table, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
recipe = Recipe("small", table)
items = torch.load(sys.argv[3])
run = Run(recipe, folder, Stream(Tensors(items), 3), {}, recipe.objective(), recipe.schedule(), save_seconds=0.0)
run_training(run)
"""


@pytest.mark.nightly
def test_kill_9_at_any_moment_twice_and_the_same_bits(table: dict[str, Any], stream: Stream, tmp_path: Path) -> None:
    items = stream.source.items  # type: ignore[attr-defined]
    torch.save(items, tmp_path / "items.pt")
    table["schedule"]["samples"] = 8 * 150

    def command(folder: str) -> list[str]:
        return [sys.executable, "-c", PROGRAM, json.dumps(table), str(tmp_path / folder), str(tmp_path / "items.pt")]

    killed_at = []
    for least in (150, 500):
        with subprocess.Popen(command("cut")) as process:
            deadline = time.monotonic() + 120
            while (
                max((int(path.name) for path in saved_checkpoints(tmp_path / "cut" / CHECKPOINTS)), default=0) < least
            ):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        killed_at.append(max(int(path.name) for path in saved_checkpoints(tmp_path / "cut" / CHECKPOINTS)))
    assert killed_at[1] < 8 * 150, "it was over before it could be killed"
    subprocess.run(command("cut"), check=True)
    subprocess.run(command("whole"), check=True)
    assert (tmp_path / "cut" / RESULT).read_bytes() == (tmp_path / "whole" / RESULT).read_bytes()
    last = [tmp_path / each / CHECKPOINTS / f"{1200:012d}" / TENSORS for each in ("cut", "whole")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_damaged_checkpoints_do_not_outlive_whole_ones(small_recipe: Recipe, stream: Stream, tmp_path: Path) -> None:
    with pytest.raises(Cut):
        run_training(run_of(small_recipe, stream, tmp_path), cut_after(160))
    older, newer = sorted(saved_checkpoints(tmp_path / CHECKPOINTS))
    (newer / VALUES).write_text("")
    with pytest.raises(Cut):
        run_training(run_of(small_recipe, stream, tmp_path), cut_after(int(older.name) + 40))
    assert newest_checkpoint(tmp_path / CHECKPOINTS, pytest.fail) is not None


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    with pytest.raises(Cut):
        run_training(run_of(small_recipe, stream, tmp_path), cut_after(160))
    there = sorted(saved_checkpoints(tmp_path / CHECKPOINTS))
    for path in there:
        (path / TENSORS).write_bytes(b"")
    with pytest.raises(BadCheckpoint):
        run_training(run_of(small_recipe, stream, tmp_path))
    assert sorted(saved_checkpoints(tmp_path / CHECKPOINTS)) == there


def test_a_part_that_begins_between_two_lines_is_a_mean_over_its_own_steps(
    small_recipe: Recipe, stream: Stream, tmp_path: Path
) -> None:
    def logged(folder: str, every: int) -> list[dict[str, Any]]:
        run_training(replace(run_of(small_recipe, stream, tmp_path / folder), log_every=every, held_out=None))
        return [json.loads(line) for line in (tmp_path / folder / LOG).read_text().splitlines()]

    single, (first, *_) = logged("single", 1), logged("five", 5)
    assert "kl" not in single[0]
    assert first["kl"] == pytest.approx(sum(line["kl"] for line in single[1:5]) / 4, rel=1e-5)


def one_of_two(rank: int, table: dict[str, Any], items: torch.Tensor, folder: Path) -> None:
    """A process of two: they learn their pace together, and stop together when one of them is asked to."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    both = replace(
        run_of(Recipe("two", table), Stream(Tensors(items), 3), folder / "run"), processes=ProcessGroup(rank, 2)
    )
    samples = samples_for_duration(both, 0.5, lambda _: None)
    steps = iter(range(100))
    with pytest.raises(TrainingStopped):
        run_training(both, stop=lambda: next(steps) >= (5 if rank else 1000))
    torch.save(samples, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.nightly
def test_two_processes_agree_on_their_pace_and_on_when_to_stop(
    table: dict[str, Any], stream: Stream, tmp_path: Path
) -> None:
    table["schedule"]["samples"] = 8 * 5000
    multiprocessing.spawn(one_of_two, (table, stream.source.items, tmp_path), nprocs=2)  # type: ignore[attr-defined]
    assert torch.load(tmp_path / "0.pt") == torch.load(tmp_path / "1.pt")
    assert max(int(path.name) for path in saved_checkpoints(tmp_path / "run" / CHECKPOINTS)) == 8 * 6
