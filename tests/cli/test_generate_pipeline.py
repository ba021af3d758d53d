"""`vaekit generate` with the folder of a diffusers pipeline, and what `inspect` shows of its images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
import tiny_pipelines

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.saved("sd1", tmp_path_factory.mktemp("pipeline"))


def test_images_and_their_settings(run: Run, pipeline: Path, tmp_path: Path) -> None:
    command = ("generate", "a cat", "--model", pipeline, "--steps", 1, "--size", "48x32", "-n", 2, "--out", tmp_path)
    made = run(*command, "--scheduler", "ddim", "--previews", "--json")
    assert made.code == 0, made.err
    first, second = made.json["files"]
    assert made.json["scheduler"] == "DDIMScheduler"
    assert (tmp_path / "PREVIEW.png").exists()
    settings = run("inspect", second, "--json").json
    assert (settings["prompt"], settings["item"], settings["size"]) == ("a cat", 2, [32, 48])
    shown = run("inspect", first)
    assert shown.code == 0 and "DDIMScheduler" in shown.out


def test_mistakes(run: Run, pipeline: Path, photo: Path, tmp_path: Path) -> None:
    command = ("generate", "a cat", "--model", pipeline, "--out", tmp_path / "out")
    assert run(*command, "--size", "big").code == 2
    for options, word in ((("--size", "33"), "32x32"), (("--scheduler", "none"), "euler"), (("--vae", "no"), "no")):
        said = run(*command, *options)
        assert said.code == 1 and word in said.err and "Traceback" not in said.err
    said = run("generate", "--model", pipeline, "--out", tmp_path / "out")
    assert said.code == 1 and "prompt" in said.err
    assert not (tmp_path / "out").exists()
    assert run("inspect", photo).code == 1
