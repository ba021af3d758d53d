"""`compare --fit-correction`, and `--correct` wherever images come out: fitted, told, applied, refused."""

import json
import shutil
from collections.abc import Callable
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.comparison.candidates import VAECandidate
from vaekit.comparison.fit_correction import CorrectionFit
from vaekit.comparison.testcard_measures import RoundTrip, checker_error
from vaekit.domains.images.read import read_image
from vaekit.runtime.engine import Engine
from vaekit.runtime.plan import Plan

Run = Callable[..., Any]
SIDE = 64
FIT = ("--fit-correction", "--show", 0, "--json")


@pytest.fixture(scope="module")
def tinted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in VAE, with a cast towards red and away from blue."""
    vae = load("builtin")
    bias = [value for key, value in vae.state_dict().items() if key.startswith("decoder.") and value.shape == (3,)][-1]
    with torch.no_grad():
        bias += torch.tensor([0.12, 0.0, -0.1])
    path = tmp_path_factory.mktemp("vae") / "tinted.safetensors"
    save(vae, path)
    return path


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pieces of two real photographs."""
    folder = tmp_path_factory.mktemp("pieces")
    for name in ("flower", "china"):
        with Image.open(str(files("sklearn.datasets.images") / f"{name}.jpg")) as image:
            for i in range(5):
                place = (120 * i, 70 * i, 120 * i + SIDE, 70 * i + SIDE)
                image.crop(place).save(folder / f"{name}{i}.png")
    return folder


@pytest.fixture(scope="module")
def corrected(tinted: Path, pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same VAE in another folder, its correction beside it: fitted without a report, which takes longer."""
    copy = Path(shutil.copy(tinted, tmp_path_factory.mktemp("corrected")))
    candidate = VAECandidate("tinted", Engine(load(copy), Plan()))
    fitting = CorrectionFit(candidate, str(copy), 0)
    for path in sorted(pieces.iterdir()):
        candidate.reconstruct(path.name, read_image(path))
    assert fitting.finish({}).path == correction_beside(copy)
    return copy


def correction_beside(vae: Path) -> Path:
    return vae.with_name(f"{vae.name}.correction.json")


def test_a_cast_is_fitted_saved_and_corrected(
    run: Run, tinted: Path, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tinted = Path(shutil.copy(tinted, tmp_path))
    monkeypatch.setattr(
        "vaekit.comparison.compare.card_measures",  # the others take the longest
        lambda contender: {"checker_delta_e": checker_error(RoundTrip(contender))},
    )
    said = run("compare", pieces, "--vae", tinted, "--out", tmp_path / "f.html", *FIT)
    assert said.code == 0, said.err
    (fitted,) = said.json["fitted"]
    path = Path(fitted["written"])
    assert path == correction_beside(tinted)
    assert fitted["helps"] and fitted["images"] == 10
    told = json.loads(path.read_text("utf-8"))
    assert told["held_out_delta_e"]["after"] < told["held_out_delta_e"]["before"] - 1
    assert told["versions"]["torch"]

    out = tmp_path / "report.html"
    said = run("compare", pieces, "--vae", tinted, "--correct", "--out", out, "--show", 1, "--json")
    assert said.code == 0, said.err
    sets = {one["name"]: one for one in said.json["candidates"]}
    assert set(sets) == {"tinted.safetensors", "tinted.safetensors, corrected"}
    corrected, plain = (sets[name]["measures"] for name in ("tinted.safetensors, corrected", "tinted.safetensors"))
    assert abs(corrected["red_shift"]) < 3 < plain["red_shift"]
    assert corrected["delta_e"] < plain["delta_e"] - 1
    assert corrected["delta_e"] == pytest.approx(fitted["held_out_delta_e"]["after"], rel=0.1)
    assert corrected["checker_delta_e"] != plain["checker_delta_e"]
    report = json.loads(out.with_suffix(".json").read_text("utf-8"))
    note = report["protocol"]["corrections"]["tinted.safetensors, corrected"]
    assert note and note in unescape(out.read_text("utf-8"))


def test_reconstruct_says_that_it_corrects(run: Run, corrected: Path, pieces: Path, tmp_path: Path) -> None:
    image = pieces / "china2.png"
    plain = run("reconstruct", image, "--vae", corrected, "--out", tmp_path / "plain", "--json").json
    said = run(
        "reconstruct", image, "--vae", corrected, "--out", tmp_path / "out", "--correct", "--json", "--dtype", "bf16"
    )
    assert said.code == 0, said.err
    assert said.json["correction"]["matrix"] == json.loads(correction_beside(corrected).read_text("utf-8"))["matrix"]
    (after,), (before,) = said.json["images"], plain["images"]
    (note,) = set(after["notes"]) - set(before["notes"])
    assert "correction" not in plain
    assert abs(after["color_shift"][0]) < abs(before["color_shift"][0]) / 2
    spoken = run("reconstruct", image, "--vae", corrected, "--out", tmp_path / "out", "--correct")
    assert note in spoken.err


def test_decode_says_that_it_corrects(run: Run, corrected: Path, pieces: Path, tmp_path: Path) -> None:
    assert run("encode", pieces / "china2.png", "--vae", corrected, "-o", tmp_path / "latents").code == 0
    said = run("decode", tmp_path / "latents", "--vae", corrected, "-o", tmp_path / "decoded", "--correct")
    assert said.code == 0, said.err
    assert "correct" in said.err
    run("reconstruct", pieces / "china2.png", "--vae", corrected, "--out", tmp_path / "there", "--correct")
    with Image.open(tmp_path / "decoded" / "china2.png") as a, Image.open(tmp_path / "there" / "china2.png") as b:
        assert a.tobytes() == b.tobytes()
    told = run("decode", tmp_path / "latents", "--vae", corrected, "-o", tmp_path / "decoded", "--correct", "--json")
    assert told.json["correction"]["kind"]


def test_where_there_is_none_it_tells_how_one_is_made(run: Run, tinted: Path, pieces: Path, tmp_path: Path) -> None:
    for verb in (
        ["reconstruct", pieces, "--out", tmp_path / "a"],
        ["compare", pieces, "--out", tmp_path / "b.html"],
    ):
        said = run(*verb, "--vae", tinted, "--correct")
        assert said.code == 1
        assert "--fit-correction" in said.err
    assert not list(tmp_path.iterdir())


def test_a_damaged_one_stops_everything(run: Run, corrected: Path, pieces: Path, tmp_path: Path) -> None:
    vae = Path(shutil.copy(corrected, tmp_path))
    correction_beside(vae).write_text("{", "utf-8")
    said = run("reconstruct", pieces, "--out", tmp_path / "a", "--vae", vae, "--correct", "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "BadCorrection")
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("no_card_measures")
def test_a_vae_without_a_fault_gets_none(run: Run, pieces: Path, tmp_path: Path) -> None:
    said = run("compare", pieces, "--fit-correction", "--out", tmp_path / "r.html", "--show", 0)
    assert said.code == 0, said.err
    assert "builtin" in said.err


@pytest.mark.parametrize(
    "options",
    [
        ("--correct", "--fit-correction", "IMAGES"),
        ("--fit-correction",),
        ("--correct", "--decode-with", "builtin", "IMAGES"),
        ("--correct", "--originals", "IMAGES", "--reconstructions", "IMAGES"),
    ],
)
def test_options_that_do_not_go_together(run: Run, pieces: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    given = [pieces if word == "IMAGES" else word for word in options]
    said = run("compare", *given, "--out", tmp_path / "r.html")
    assert said.code == 2
    assert "correct" in said.err


def test_few_images_are_refused_before_anything_runs(run: Run, tinted: Path, pieces: Path, tmp_path: Path) -> None:
    said = run(
        "compare", pieces, "--limit", 7, "--vae", tinted, "--fit-correction", "--out", tmp_path / "r.html", "--json"
    )
    assert said.code == 1
    assert said.json["error"]["kind"] == "NothingEvaluated" and "8" in said.json["error"]["expected"]
    assert not list(tmp_path.iterdir())
