"""`vaekit cache` with the files of other programs: arguments, output and exit status."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_caches import kohya_file, latents, read_as_kohya, small_cache
from PIL import Image

from vaekit.checkpoints.latent_files import origin_of
from vaekit.checkpoints.save import save
from vaekit.latent_cache.open import open_cache
from vaekit.vae import VAE

Run = Callable[..., Any]
PAGE = (Path(__file__).parents[2] / "docs/cache-formats.md").read_text("utf-8")


def test_export_audit_and_import(run: Run, tmp_path: Path, kl_vae: VAE) -> None:
    file = tmp_path / "vae.safetensors"
    save(kl_vae, file)
    made = small_cache(tmp_path / "cache", origin=origin_of(kl_vae))
    exported = run("cache", tmp_path / "cache", "--export", "kohya", tmp_path / "out", "--json")
    assert exported.code == 0 and exported.json["failures"] == [] and exported.json["latents"] == "mean"
    assert (exported.json["variant"], exported.json["stored"], exported.json["items"]) == ("sd", "raw", 2)
    assert (read_as_kohya(tmp_path / "out/a/cat.png", (480, 640), "sd")[0] == made.mean[0].numpy()).all()
    shown = run("cache", tmp_path / "cache", tmp_path / "out2", "--export", "mds", "--sample", "--seed", 3)
    assert shown.code == 0 and "a sample of each posterior (seed 3)" in shown.out
    audited = run("cache", "--audit", tmp_path / "out", "--json")
    assert audited.code == 0 and audited.json["clean"] is True
    imported = run("cache", tmp_path / "out", "--import", tmp_path / "again", "--vae", file, "--json")
    assert imported.code == 0 and imported.json["items"] == 2 and len(open_cache(tmp_path / "again")) == 2
    shown = run("cache", tmp_path / "out", tmp_path / "third", "--import", "--vae", file, "--format", "kohya:sd")
    assert shown.code == 0 and "2 in 1 shard" in shown.out


def test_findings_give_exit_status_1(run: Run, tmp_path: Path) -> None:
    kohya_file(tmp_path, "nan", values=latents() * float("nan"))
    audited = run("cache", tmp_path, "--audit", "--json")
    assert audited.code == 1 and audited.json["counts"] == {"non-finite": 1}
    shown = run("cache", "--audit", tmp_path)
    assert shown.code == 1 and "nan_0640x0480_sdxl.npz" in shown.out and "NaN" in shown.out


def test_items_that_are_left_out_give_exit_status_1(run: Run, tmp_path: Path) -> None:
    small_cache(tmp_path / "cache", names=("a/cat.png", "b/cat.png"))
    exported = run("cache", tmp_path / "cache", tmp_path / "out", "--export", "musubi", "--json")
    assert exported.code == 1 and exported.json["items"] == 1 and len(exported.json["failures"]) == 1
    assert "b/cat.png" in exported.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("DATA",),
        ("DATA", "--export", "kohya"),
        ("DATA", "--import", "OUT"),
        ("DATA", "OUT", "--audit"),
        ("DATA", "OUT", "--audit", "--export", "kohya"),
        ("DATA", "OUT", "--format", "kohya"),
        ("DATA", "OUT", "--sample"),
        ("--audit",),
    ],
)
def test_wrong_usage_gives_exit_status_2(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    paths = {"DATA": tmp_path, "OUT": tmp_path / "out"}
    assert run("cache", *(paths.get(each, each) for each in arguments)).code == 2
    assert not (tmp_path / "out").exists()


def test_user_errors_give_exit_status_1(run: Run, tmp_path: Path, kl_vae: VAE) -> None:
    out = tmp_path / "out"
    assert run("cache", tmp_path, out, "--export", "kohya").code == 1
    assert run("cache", tmp_path / "none", "--audit").code == 1
    empty = run("cache", "--audit", tmp_path, "--json")
    assert empty.code == 1 and empty.json["error"]["kind"] == "NotFound"
    save(kl_vae, tmp_path / "vae.safetensors")
    kohya_file(tmp_path / "in", family="flux", values=latents(1, 16), sizes_in_keys=True)
    refused = run("cache", tmp_path / "in", out, "--import", "--vae", tmp_path / "vae.safetensors", "--json")
    assert refused.code == 1 and refused.json["error"]["kind"] == "LatentMismatch"
    small_cache(tmp_path / "cache")
    wrong = run("cache", tmp_path / "cache", out, "--export", "kohja", "--json")
    assert wrong.code == 1 and "kohya" in wrong.json["error"]["remedy"]
    assert not out.exists()


def test_the_commands_of_the_page_run(
    run: Run, tmp_path: Path, vae_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(vae_file, "vae.safetensors")
    Path("photos").mkdir()
    for number in range(3):
        values = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(values).resize((40, 32), Image.Resampling.BICUBIC).save(f"photos/{number}.png")
    assert run("cache", "photos", "latents", "--vae", "vae.safetensors", "--size", 32, "--buckets", 8).code == 0
    commands = re.findall(r"^    vaekit (.+)$", PAGE, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        result = run(*shlex.split(command))
        assert result.code == 0, result.err
    latents, again = open_cache(Path("latents")), open_cache(Path("again"))
    assert [item.key for item in again.items] == [item.key for item in latents.items]
    assert torch.allclose(again.read(0).mean, latents.read(0).mean, atol=1e-5)
