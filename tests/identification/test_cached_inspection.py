"""Inspections as records, cached until the file changes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vaekit.catalog import tables
from vaekit.checkpoints.save import save
from vaekit.errors import UnknownVAE
from vaekit.identification import cached_inspection as module
from vaekit.identification import inspect as inspect_module
from vaekit.identification.cached_inspection import cached_inspection
from vaekit.vae import VAE


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that are inspected, in order."""
    paths: list[Path] = []
    real = inspect_module.inspect_path

    def counted(path: Path, **options: Any) -> inspect_module.Inspection:
        paths.append(path)
        return real(path, **options)

    monkeypatch.setattr(inspect_module, "inspect_path", counted)
    return paths


@pytest.fixture
def file(tiny_vae: VAE, tmp_path: Path) -> Path:
    save(tiny_vae, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def test_a_record_is_plain_json_and_is_found_once(file: Path, inspected: list[Path]) -> None:
    first = cached_inspection(file, measure=False)
    assert json.loads(json.dumps(first)) == first
    assert (first["family"], first["path"], first["normalization_words"]) == ("tiny", str(file), "scale 1, shift 0")
    assert cached_inspection(file, measure=False) == first
    assert inspected == [file]


def test_each_question_has_an_answer_of_its_own(file: Path, inspected: list[Path]) -> None:
    assert cached_inspection(file, measure=False)["sha256"]
    assert cached_inspection(file, hash=False, measure=False)["sha256"] is None
    assert len(inspected) == 2


def test_another_choice_of_weights_is_another_question(tiny_vae: VAE, tmp_path: Path, inspected: list[Path]) -> None:
    plain = tiny_vae.state_dict()
    ema = {name: tensor + 1 for name, tensor in plain.items()}
    torch.save({"model": plain, "ema": ema}, tmp_path / "x.pt")
    first, other = (cached_inspection(tmp_path / "x.pt", measure=False, weights=kind) for kind in ("ema", "plain"))
    assert first["fingerprint"] != other["fingerprint"]
    assert len(inspected) == 2


def test_the_path_is_the_one_that_was_asked_for(file: Path, inspected: list[Path], tmp_path: Path) -> None:
    cached_inspection(file, measure=False)
    (tmp_path / "link").symlink_to(file)
    assert cached_inspection(tmp_path / "link", measure=False)["path"] == str(tmp_path / "link")
    assert len(inspected) == 1


def test_a_changed_file_or_another_table_is_inspected_again(
    file: Path, inspected: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_inspection(file, measure=False)
    os.utime(file, (1, 1))
    cached_inspection(file, measure=False)
    assert len(inspected) == 2
    monkeypatch.setattr(module, "knowledge_digest", lambda: f"not {tables.digest()}")
    cached_inspection(file, measure=False)
    assert len(inspected) == 3


def test_a_folder_is_not_cached(tiny_vae: VAE, inspected: list[Path], tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "folder", "diffusers")
    for _ in range(2):
        record = cached_inspection(tmp_path / "folder", measure=False)
        assert record["normalization_words"] == "unknown"
    assert len(inspected) == 2


def test_an_unknown_normalization_is_called_so(pooled_vae: VAE, tmp_path: Path) -> None:
    save(pooled_vae, tmp_path / "x.safetensors")
    assert cached_inspection(tmp_path / "x.safetensors", measure=False)["normalization_words"] == "unknown"


def test_errors_are_not_cached(tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torch import ones

    save_file({"x": ones(2)}, tmp_path / "x.safetensors")
    for _ in range(2):
        with pytest.raises(UnknownVAE):
            cached_inspection(tmp_path / "x.safetensors")


def test_a_cached_record_needs_no_torch(file: Path) -> None:
    cached_inspection(file, measure=False)
    code = (
        "import sys; from pathlib import Path\n"
        "from vaekit.identification.cached_inspection import cached_inspection\n"
        f"cached_inspection(Path({str(file)!r}), measure=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
