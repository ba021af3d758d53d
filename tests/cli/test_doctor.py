"""`vaekit doctor`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import vaekit
from vaekit.doctor.examine import CHECKS

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("small_doctor_images")


@pytest.fixture(scope="session")
def spoilt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in VAE with a layer that overflows in fp16."""
    vae = vaekit.load("builtin").float()
    with torch.no_grad():
        for name in ("weight", "bias"):
            vae.get_parameter(f"decoder.up.1.block.0.conv1.{name}").mul_(30_000)
    path = tmp_path_factory.mktemp("spoilt") / "loud.safetensors"
    vaekit.save(vae, path)
    return path


@pytest.mark.nightly
def test_a_healthy_vae_gives_a_table_and_status_0(run: Run, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:200])
    said = run("doctor", "--vae", "builtin", "--images", tmp_path)
    assert said.code == 0
    assert "builtin" in said.out
    assert said.out.count("✓") == len(CHECKS) and "✗" not in said.out
    assert "broken.png" in said.err


def test_json_is_one_object_and_what_is_wrong_gives_status_1(run: Run, spoilt_file: Path) -> None:
    said = run("doctor", "--vae", spoilt_file, "--json")
    assert said.code == 1
    assert said.json["status"] == "wrong"
    assert said.json["catalog_entry"] is None
    findings = {finding["name"]: finding for finding in said.json["findings"]}
    assert tuple(findings) == CHECKS
    assert findings["fp16_range"]["status"] == "wrong"
    assert findings["fp16_range"]["values"]["decoder"]["overflows"][0] == "decoder.up.1.block.0.conv1"
    assert findings["fp16_range"]["remedy"]
    assert {findings[name]["status"] for name in ("weights", "activations", "normalization", "match", "grid")} == {"ok"}


@pytest.mark.nightly
def test_the_table_says_what_is_wrong_and_what_to_do(run: Run, spoilt_file: Path) -> None:
    said = run("doctor", "--vae", spoilt_file)
    assert said.code == 1
    assert "✗" in said.out
    assert "decoder.up.1.block.0.conv1" in said.out


@pytest.mark.nightly
def test_images_are_counted_and_chosen(run: Run, photo: Path, tmp_path: Path) -> None:
    for number in range(5):
        shutil.copy(photo, tmp_path / f"{number}.png")
    said = run("doctor", "--images", tmp_path, "--limit", 2, "--json")
    assert (said.code, said.json["images"], said.json["failures"]) == (0, 2, [])
    assert said.json["catalog_entry"] == "builtin"


@pytest.mark.parametrize("arguments", [("--vae", "no-such-vae"), ("--images", "no-such-folder")])
def test_bad_input_is_one_paragraph(run: Run, arguments: tuple[str, str]) -> None:
    said = run("doctor", *arguments)
    assert said.code == 1
    assert said.err.startswith("vaekit: ")
    assert "Traceback" not in said.err
