"""`vaekit inspect` and `vaekit convert`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

Run = Callable[..., Any]


def test_it_tells_the_facts(run: Run, vae_file: Path) -> None:
    said = run("inspect", vae_file)
    assert said.code == 0
    for fact in ("kl", "1/4", "0.5", "0.1", "norm_groups = 4", "native", "safetensors"):
        assert fact in said.out


def test_json_has_every_field(run: Run, vae_file: Path) -> None:
    told = run("inspect", vae_file, "--json").json
    assert told["family"] == "kl"
    assert told["normalization"] == {"shift": [0.1], "scale": [0.5], "patch": 1}
    assert told["config"]["encoder_widths"] == [8, 8, 16]
    assert len(told["fingerprint"]) == 64


def test_a_vae_that_is_only_recognized(run: Run, vae_file: Path, tmp_path: Path) -> None:
    """Told on exit status 0, in words and as JSON; loading it is an error that says what can run it."""
    path = tmp_path / "svd.safetensors"
    keys = {"decoder.mid.block_1.mix_factor": (1,), "decoder.conv_in.weight": (8, 4, 3, 3)}
    save_file({f"first_stage_model.{key}": torch.zeros(shape) for key, shape in keys.items()}, path)
    said = run("inspect", path)
    assert said.code == 0
    for fact in ("Stable Video Diffusion", "1/8", "first_stage_model."):
        assert fact in said.out
    told = run("inspect", path, "--json").json
    assert (told["runnable"], told["latent_channels"], told["factor"]) == (False, 4, 8)
    assert run("inspect", vae_file, "--json").json["runnable"] is True
    refused = run("convert", path, tmp_path / "out.safetensors", "--layout", "native", "--json")
    assert (refused.code, refused.json["error"]["kind"]) == (1, "NotRunnable")
    assert "AutoencoderKLTemporalDecoder" in refused.json["error"]["remedy"]


@pytest.mark.parametrize(
    ("layout", "name"), [("ldm", "out.safetensors"), ("diffusers", "out"), ("native", "n.safetensors")]
)
def test_convert_keeps_the_fingerprint(run: Run, vae_file: Path, tmp_path: Path, layout: str, name: str) -> None:
    said = run("convert", vae_file, tmp_path / name, "--layout", layout, "--json")
    assert said.code == 0
    before, after = (run("inspect", path, "--json").json for path in (vae_file, tmp_path / name))
    assert after["fingerprint"] == before["fingerprint"] == said.json["fingerprint"]
    assert after["layout"] == ("ldm" if layout == "ldm" else layout)


def test_convert_can_change_the_dtype(run: Run, vae_file: Path, tmp_path: Path) -> None:
    run("convert", vae_file, tmp_path / "half.safetensors", "--layout", "native", "--dtype", "fp16")
    assert run("inspect", tmp_path / "half.safetensors", "--json").json["dtypes"] == ["float16"]
