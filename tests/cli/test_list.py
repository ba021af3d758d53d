"""`vaekit list`, and names of a models folder wherever `--vae` is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def filled(models: Path, vae_file: Path) -> Path:
    """Two copies of a VAE, one with a name that is far too long, and a broken file."""
    (models / "sub").mkdir()
    for name in ("small.safetensors", f"sub/{'very-' * 30}long.safetensors"):
        (models / name).write_bytes(vae_file.read_bytes())
    (models / "broken.pt").write_bytes(b"rubbish")
    return models


def test_the_table_fits_the_terminal(run: Run, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        said = run("list", "--known")
        assert said.code == 0
        assert max(map(len, said.out.splitlines())) <= width
        for fact in ("small", "0.5; 0.1", "Broken", "sd-vae-ft-mse", str(filled)):
            assert fact.lower() in said.out.lower()


def test_in_a_pipe_no_name_is_cut(run: Run, filled: Path) -> None:
    assert f"{'very-' * 30}long" in run("list").out


def test_json_has_every_fact(run: Run, filled: Path) -> None:
    told = run("list", "--json").json
    assert told["folders"] == [str(filled)]
    small = next(vae for vae in told["vaes"] if vae["name"] == "small")
    assert small["path"] == str(filled / "small.safetensors")
    assert small["normalization"] == {"shift": [0.1], "scale": [0.5], "patch": 1}
    assert small["duplicates"] == [f"{'very-' * 30}long"]
    assert small["bytes"] == (filled / "small.safetensors").stat().st_size
    assert len(small["fingerprint"]) == 64
    assert [(file["name"], file["error"]) for file in told["unusable"]] == [("broken", "BadCheckpoint")]
    known = next(card for card in told["known"] if card["name"] == "sd-vae-ft-mse")
    assert known["files"][0]["repo"]


def test_an_empty_folder_and_one_that_is_not_there(run: Run, tmp_path: Path) -> None:
    said = run("list", "--models", tmp_path, "--models", tmp_path / "none")
    assert said.code == 0
    assert "builtin" in said.out
    assert str(tmp_path / "none") in said.out
    assert "vaekit get" in said.err


def test_a_new_user_has_no_trouble(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAEKIT_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    said = run("list", "--json")
    assert (said.json["folders"], said.json["troubles"]) == ([str(tmp_path / "vaekit" / "models")], [])


def test_a_name_works_wherever_vae_does(run: Run, filled: Path, photo: Path, tmp_path: Path) -> None:
    latents = tmp_path / "latents"
    assert run("reconstruct", photo, "--vae", "small", "-o", tmp_path).code == 0
    assert run("encode", photo, "--vae-path", "small.safetensors", "-o", latents).code == 0
    assert run("decode", latents, "--vae", "small", "-o", tmp_path, "--models", filled).code == 0
    assert run("inspect", "small", "--json").json["path"] == "small"
    assert run("convert", "small", tmp_path / "out.safetensors", "--layout", "ldm").code == 0
    said = run("inspect", "small", "--models", tmp_path / "latents", "--json")
    assert (said.code, said.json["error"]["kind"]) == (1, "NotFound")


def test_an_ambiguous_name_is_told(run: Run, filled: Path, vae_file: Path) -> None:
    (filled / "sub" / "small.pt").write_bytes(vae_file.read_bytes())
    (filled / "sub" / "small.ckpt").write_bytes(vae_file.read_bytes())
    (filled / "small.safetensors").unlink()
    said = run("inspect", "small")
    assert said.code == 1
    assert "small.pt" in said.err and "small.ckpt" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_folder_of_halves_has_a_name(run: Run, models: Path, shared_data: Path) -> None:
    (models / "taesd").symlink_to(shared_data / "vae" / "taesd")
    told = run("inspect", "taesd", "--json").json
    assert told["halves"] == ["encoder", "decoder"]
