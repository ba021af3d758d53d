"""`vaekit diff`: two VAE files, and what both make of images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save

Run = Callable[..., Any]


def test_the_same_vae_in_half_precision(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    run("convert", vae_file, tmp_path / "half.safetensors", "--dtype", "fp16")
    result = run("diff", vae_file, tmp_path / "half.safetensors", "--images", photo, "--json")
    assert result.code == 0 and result.json["same"] and result.json["counts"]["different"] == 0
    (image,) = result.json["images"]
    assert image["status"] in ("equal", "close") and image["psnr"] > 45
    assert "the same VAE" in run("diff", vae_file, tmp_path / "half.safetensors").out


def test_another_vae(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    vae = load(vae_file)
    assert vae.decoder is not None
    with torch.no_grad():
        next(vae.decoder.parameters()).view(-1)[:] += 0.1
    save(vae, tmp_path / "other.safetensors")
    result = run("diff", vae_file, tmp_path / "other.safetensors", "--images", photo, "--json")
    assert result.code == 1 and not result.json["same"] and result.json["counts"]["different"] == 1
    (image,) = result.json["images"]
    assert image["status"] == "different" and image["largest"] > 1
    table = run("diff", vae_file, tmp_path / "other.safetensors", "--images", photo)
    assert table.code == 1 and "different VAEs" in table.out


def test_what_cannot_be_compared_is_refused(run: Run, vae_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    for other in (tmp_path / "broken.safetensors", tmp_path / "none.safetensors"):
        result = run("diff", vae_file, other, "--json")
        assert result.code == 1 and result.json["error"]["found"]
    result = run("diff", vae_file, vae_file, "--images", tmp_path / "none.png", "--json")
    assert result.code == 1 and result.json["error"]["kind"] == "NotFound"
