"""`generate --model` with the path of something else: the error names what is there."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_cache import make_cache
from small_diffusion import write_digits, write_vae

from vaekit.errors import BadCheckpoint, NotFound, VaekitError
from vaekit.tasks.generate import generate
from vaekit.tasks.generation import GenerateOptions


def vae_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text('{"recipe": {"vae": {}}}')
    return write_vae(folder / "vae.safetensors").parent


def unfinished(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.json").write_text('{"recipe": {"diffusion": {}}}')
    return folder


def component(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    return folder


def inside(folder: Path) -> Path:
    component(folder)
    (folder / "model_index.json").write_text("{}")
    return component(folder / "unet")


def above(folder: Path) -> Path:
    folder.mkdir()
    inside(folder / "snapshot")
    return folder


def vae_file(path: Path) -> Path:
    return write_vae(path.with_suffix(".safetensors"))


def cached(folder: Path) -> Path:
    folder.mkdir()
    make_cache(folder)
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def text(path: Path) -> Path:
    path.write_text("a cat")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


CASES: dict[str, tuple[Callable[[Path], Path], type[VaekitError], str]] = {
    "nothing": (lambda path: path, NotFound, "does not exist"),
    "empty": (empty, NotFound, "empty folder"),
    "images": (write_digits, NotFound, "32 files (16 .txt, 16 .png)"),
    "vae run": (vae_run, NotFound, "trained a VAE"),
    "unfinished": (unfinished, NotFound, "not finished"),
    "component": (component, NotFound, "UNet2DConditionModel"),
    "inside": (inside, NotFound, "a part of the pipeline"),
    "above": (above, NotFound, "snapshot"),
    "cache": (cached, NotFound, "cache of latents"),
    "vae": (vae_file, BadCheckpoint, "VAE of the family kl"),
    "text": (text, BadCheckpoint, "text file"),
    "pipe": (pipe, BadCheckpoint, "pipe"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_there_and_what_is_expected(case: str, tmp_path: Path) -> None:
    make, kind, phrase = CASES[case]
    path = make(tmp_path / "model")
    with pytest.raises(kind) as raised:
        generate(GenerateOptions(path, tmp_path / "out", device="cpu"))
    error = raised.value
    assert phrase in error.found and str(path) in error.found
    assert "diffusion.safetensors" in error.expected and "model_index.json" in error.expected
    assert error.remedy and not (tmp_path / "out").exists()
    if case in ("inside", "above"):
        assert f"--model {tmp_path / 'model' / ('snapshot' if case == 'above' else '')}".rstrip("/") in error.remedy
