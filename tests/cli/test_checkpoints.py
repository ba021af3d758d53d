"""`convert`, `extract` and `bake` as a person types them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.identify import identify

Run = Callable[..., Any]


@pytest.fixture
def checkpoint(run: Run, vae_file: Path, tmp_path: Path) -> Path:
    """A whole checkpoint around the small VAE."""
    run("convert", vae_file, tmp_path / "ldm.safetensors", "--layout", "ldm")
    inside = {f"first_stage_model.{key}": tensor for key, tensor in load_file(tmp_path / "ldm.safetensors").items()}
    path = tmp_path / "whole.safetensors"
    save_file(inside | {"model.diffusion_model.x.weight": torch.ones(3)}, path, {"vaekit.config": '{"norm_groups": 4}'})
    return path


def test_extract_and_bake(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    said = run("extract", checkpoint, tmp_path / "vae.safetensors")
    assert said.code == 0, said.err
    for word in ("first_stage_model.", "encoder and decoder", "unknown", "ldm"):
        assert word in said.out
    said = run("bake", checkpoint, tmp_path / "vae.safetensors", tmp_path / "new.safetensors")
    assert said.code == 0, said.err
    assert "1 kept" in said.out
    assert "Nothing in the checkpoint tells its normalization" in said.err
    assert (tmp_path / "new.safetensors").read_bytes() == checkpoint.read_bytes()


def test_json(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    told = run("extract", checkpoint, tmp_path / "vae.safetensors", "--json").json
    assert (told["prefix"], told["normalization"], told["layout"]) == ("first_stage_model.", None, "ldm")
    told = run("bake", checkpoint, tmp_path / "vae.safetensors", tmp_path / "new.safetensors", "--json").json
    assert (told["kept"], told["added"], told["halves"]) == (1, 0, ["encoder", "decoder"])
    told = run("convert", checkpoint, tmp_path / "vae.pt", "--dtype", "fp16", "--json").json
    assert (told["layout"], identify(tmp_path / "vae.pt").layout) == ("ldm", "ldm")


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_extract_in_a_layout(run: Run, checkpoint: Path, tmp_path: Path, layout: str) -> None:
    assert run("extract", checkpoint, tmp_path / "x.safetensors", "--layout", layout).code == 0
    assert identify(tmp_path / "x.safetensors").layout == layout


def test_errors_are_one_paragraph(run: Run, checkpoint: Path, vae_file: Path, tmp_path: Path) -> None:
    save_file({"model.diffusion_model.x.weight": torch.ones(3)}, tmp_path / "bare.safetensors")
    for call, words in (
        (("extract", tmp_path / "bare.safetensors", tmp_path / "out.safetensors"), "There is no VAE in"),
        (("extract", checkpoint, checkpoint), "take the place of an input"),
        (("bake", tmp_path / "bare.safetensors", vae_file, tmp_path / "out.safetensors"), "no model that vaekit knows"),
        (("bake", checkpoint, "builtin", tmp_path / "out.safetensors"), "speaks other latents"),
        (("bake", checkpoint, vae_file, tmp_path / "out.ckpt"), "does not end in .safetensors"),
        (("convert", vae_file, tmp_path / "out.safetensors", "--dtype", "fp8"), "8 bits"),
        (("convert", vae_file, tmp_path / "out.xyz", "--layout", "ldm"), "out.safetensors"),
    ):
        said = run(*call)
        assert said.code == 1
        assert words in said.err
        assert "Traceback" not in said.err
        assert len(said.err.strip().splitlines()) == 1, said.err
    assert not list(tmp_path.glob("out*"))
