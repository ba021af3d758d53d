"""`convert`, `extract` and `bake` as a person types them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.load import load
from vaekit.identification.fingerprint import fingerprint
from vaekit.identification.identify import identify

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
    for fact in ("first_stage_model.", "encoder", "decoder", "ldm"):
        assert fact in said.out
    said = run("bake", checkpoint, tmp_path / "vae.safetensors", tmp_path / "new.safetensors")
    assert said.code == 0, said.err
    assert "1 kept" in said.out
    assert said.err, "a caution: the checkpoint does not tell its normalization"
    assert (tmp_path / "new.safetensors").read_bytes() == checkpoint.read_bytes()


def test_json(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    told = run("extract", checkpoint, tmp_path / "vae.safetensors", "--json").json
    assert (told["prefix"], told["normalization"], told["layout"]) == ("first_stage_model.", None, "ldm")
    told = run("bake", checkpoint, tmp_path / "vae.safetensors", tmp_path / "new.safetensors", "--json").json
    assert (told["kept"], told["added"], told["halves"]) == (1, 0, ["encoder", "decoder"])
    told = run("convert", checkpoint, tmp_path / "vae.pt", "--dtype", "fp16", "--json").json
    assert (told["layout"], identify(tmp_path / "vae.pt").layout) == ("ldm", "ldm")
    assert told["fingerprint"] == fingerprint(load(tmp_path / "vae.pt"))


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_extract_in_a_layout(run: Run, checkpoint: Path, tmp_path: Path, layout: str) -> None:
    assert run("extract", checkpoint, tmp_path / "x.safetensors", "--layout", layout).code == 0
    assert identify(tmp_path / "x.safetensors").layout == layout


def test_errors_are_one_paragraph(run: Run, checkpoint: Path, vae_file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file({"model.diffusion_model.x.weight": torch.ones(3)}, bare)
    for call, kind, fact in (
        (("extract", bare, tmp_path / "out.safetensors"), "UnknownVAE", bare.name),
        (("extract", checkpoint, checkpoint), "CannotWrite", "whole.safetensors"),
        (("bake", bare, vae_file, tmp_path / "out.safetensors"), "UnknownVAE", bare.name),
        (("bake", checkpoint, "builtin", tmp_path / "out.safetensors"), "LatentMismatch", "builtin"),
        (("bake", checkpoint, vae_file, tmp_path / "out.ckpt"), "CannotWrite", "out.ckpt"),
        (("convert", vae_file, tmp_path / "out.safetensors", "--dtype", "fp8"), "WrongTensors", "fp8"),
        (("convert", vae_file, tmp_path / "out.xyz", "--layout", "ldm"), "CannotWrite", "out.safetensors"),
    ):
        said = run(*call, "--json")
        assert (said.code, said.json["error"]["kind"]) == (1, kind)
        assert fact in said.err
        assert "Traceback" not in said.err
        assert len(said.err.strip().splitlines()) == 1, said.err
    assert not list(tmp_path.glob("out*"))
