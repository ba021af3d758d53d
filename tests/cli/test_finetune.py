"""`vaekit finetune` and `vaekit push` from the outside."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from soft_images import write_soft

import vaekit
from vaekit.formats.open import open_tensors
from vaekit.identification.fingerprint import fingerprint
from vaekit.vae import VAE

Run = Callable[..., Any]
SHORT = [
    *("--samples", 4, "--set", "schedule.batch_size=2", "--set", "schedule.warmup_samples=2"),
    *("--set", "schedule.learning_rate=0.01", "--set", "images.size=32", "--padding", "zeros"),
]


@pytest.fixture(autouse=True)
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in cards are `compare`'s, and take a minute."""
    monkeypatch.setattr("vaekit.comparison.compare.card_measures", lambda _: {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft images; with a seed of 0 two are kept aside."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(40):
        write_soft(folder / f"{number:02}.png", (36, 36), rng)
    return folder


@pytest.fixture
def finetune(run: Run, vae_file: Path, data: Path, lpips_file: Path, tmp_path: Path) -> Run:
    def call(*more: object, vae: Path = vae_file) -> Any:
        places = ("--vae", vae, "--data", data, "--out", tmp_path / "run", "--lpips", lpips_file)
        return run("finetune", *places, *SHORT, *more)

    return call


def test_a_run_ends_with_weights_card_and_report(finetune: Run, run: Run, vae_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = finetune("--json", "--license", "CC-BY-4.0", "--title", "A small one")
    assert said.code == 0, said.err
    told = said.json
    assert told["files"] == ["vae.safetensors"]
    metrics = told["metrics"]
    assert metrics["held_out_images"] == 2 == len(list((folder / "held_out").iterdir()))
    notes = json.loads(open_tensors(folder / "vae.safetensors").metadata["vaekit.finetuned"])
    assert notes["metrics"] == metrics and notes["parent"]["fingerprint"] == fingerprint(vaekit.load(vae_file))
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n") and "# A small one" in card
    for which in ("before", "after"):
        assert f"| {metrics[which]['psnr']:.2f} " in card
    assert notes["parent"]["fingerprint"] in card
    for name in ("crop_1.png", "crop_2.png", "color_errors.png"):
        assert f"(images/{name})" in card
        with Image.open(folder / "images" / name) as image:
            image.verify()
    page = json.loads((folder / "report.json").read_text())
    assert {one["name"] for one in page["candidates"]} == {"before", "after"}
    # A second call finds that all is done, and says the same again.
    weights = (folder / "vae.safetensors").read_bytes()
    assert finetune("--json", "--license", "CC-BY-4.0", "--title", "A small one").json["metrics"] == metrics
    assert (folder / "vae.safetensors").read_bytes() == weights
    # What would be put on the Hub is this, and no checkpoints.
    dry = run("push", folder, "someone/small", "--dry-run", "--json").json
    assert dry["files"][:2] == ["vae.safetensors", "README.md"]
    assert {name.split("/")[0] for name in dry["files"]} == {"vae.safetensors", "README.md", "images"}


def test_another_padding_is_compared_with_the_one_before(finetune: Run, vae_file: Path, tmp_path: Path) -> None:
    as_it_was = finetune("--json").json["metrics"]["before"]
    shutil.rmtree(tmp_path / "run")
    said = finetune("--json", "--padding", "reflect", "--set", "schedule.averages=[]")
    assert said.json["metrics"]["before"] == as_it_was, "the parent's own padding, in which it is at its best"
    assert said.json["lineage"]["changes"] == {"padding": {"before": "zeros", "after": "reflect"}}
    card = (tmp_path / "run" / "README.md").read_text()
    assert "zeros" in card and "reflect" in card and "38 " in card
    assert "vaekit reconstruct" in card and "--layout diffusers" not in card


def test_another_recipe_is_another_run(finetune: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(json.dumps({"recipe": {}, "seed": 1, "data": {}}))
    said = finetune("--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "RecipeChanged")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["recipe.json"]


def test_half_a_vae_is_told(finetune: Run, vae_file: Path, tmp_path: Path) -> None:
    half: VAE = vaekit.load(vae_file, padding="zeros")
    half.encoder = None
    vaekit.save(half, tmp_path / "half.safetensors")
    said = finetune("--json", vae=tmp_path / "half.safetensors")
    assert (said.code, said.json["error"]["kind"]) == (1, "HalfMissing")
    assert "Traceback" not in said.err
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_used_are_told(finetune: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = finetune("--json", "--data", tmp_path / "empty")
    assert (said.code, said.json["error"]["kind"]) == (1, "NoTrainingData")
    (tmp_path / "one").mkdir()
    shutil.copy(data / "00.png", tmp_path / "one")
    (tmp_path / "one" / "broken.png").write_bytes(b"nothing")
    said = finetune("--data", tmp_path / "one")
    assert said.code == 1 and "broken.png" in said.err and "Traceback" not in said.err


def test_push_needs_a_run_and_a_token(
    run: Run, vae_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "run").mkdir()
    said = run("push", tmp_path / "run", "someone/small", "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "NotFound")
    shutil.copy(vae_file, tmp_path / "run" / "vae.safetensors")
    said = run("push", tmp_path / "run", "someone/small")
    assert said.code == 1 and "HF_TOKEN" in said.err and "Traceback" not in said.err
