"""Padding by reflection: the community's recipe, told by files, overridden by hand, never lost or invented."""

import json
from pathlib import Path

import pytest
from refusals import refuses
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vaekit.checkpoints.convert import convert
from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import BadPlan, WrongTensors
from vaekit.identification import resolve
from vaekit.library.inspect import inspect
from vaekit.vae import VAE


@pytest.fixture
def reflecting_file(kl_vae: VAE, tmp_path: Path) -> Path:
    path = tmp_path / "reflecting.safetensors"
    save(kl_vae, tmp_path / "zeros.safetensors")
    save(load(tmp_path / "zeros.safetensors", padding="reflect"), path)
    return path


def written_config(path: Path) -> dict[str, object]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["vaekit.config"])


@pytest.mark.parametrize("layout", ["native", "ldm", "diffusers"])
def test_a_file_that_vaekit_wrote_tells_it(reflecting_file: Path, tmp_path: Path, layout: str) -> None:
    save(load(reflecting_file), tmp_path / "again.safetensors", layout)
    assert load(tmp_path / "again.safetensors").config.padding == "reflect"
    assert inspect(tmp_path / "again.safetensors").config["padding"] == "reflect"


def test_zeros_that_a_vae_runs_with_are_told_and_not_looked_for_again(
    kl_vae: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    assert written_config(tmp_path / "x.safetensors")["padding"] == "zeros"
    monkeypatch.setattr(resolve, "cached_padding_probe", lambda *_: pytest.fail("measured what the file tells"))
    assert load(tmp_path / "x.safetensors").config.padding == "zeros"


def test_zeros_are_not_written_down_as_if_somebody_knew(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "bare.safetensors")
    convert(tmp_path / "bare.safetensors", tmp_path / "y.safetensors", "native")
    assert "padding" not in written_config(tmp_path / "y.safetensors")


def test_a_config_json_may_tell_it(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "folder", "diffusers")
    settings = json.loads((tmp_path / "folder" / "config.json").read_text())
    (tmp_path / "folder" / "config.json").write_text(json.dumps(settings | {"padding_mode": "reflect"}))
    assert load(tmp_path / "folder").config.padding == "reflect"


def test_what_is_asked_for_comes_first(reflecting_file: Path) -> None:
    assert load(reflecting_file).config.padding == "reflect"
    assert load(reflecting_file, padding="zeros").config.padding == "zeros"


def test_a_vector_quantized_vae_has_it_too(vq_vae: VAE, tmp_path: Path) -> None:
    save(vq_vae, tmp_path / "x.safetensors")
    save(load(tmp_path / "x.safetensors", padding="reflect"), tmp_path / "y.safetensors")
    assert load(tmp_path / "y.safetensors").config.padding == "reflect"


def test_diffusers_has_no_word_for_it(reflecting_file: Path, tmp_path: Path) -> None:
    with refuses(WrongTensors, "--padding zeros", 'padding_mode = "reflect"'):
        save(load(reflecting_file), tmp_path / "folder", "diffusers")
    assert not (tmp_path / "folder").exists()
    save(load(reflecting_file, padding="zeros"), tmp_path / "folder", "diffusers")
    assert load(tmp_path / "folder").config.padding == "zeros"


def test_there_are_two_paddings(reflecting_file: Path) -> None:
    with refuses(BadPlan, "circular"):
        load(reflecting_file, padding="circular")


def test_a_tiny_autoencoder_pads_in_one_way(tiny_vae: VAE, tmp_path: Path) -> None:
    save(tiny_vae, tmp_path / "x.safetensors")
    assert load(tmp_path / "x.safetensors", padding="zeros")
    with refuses(BadPlan, "tiny"):
        load(tmp_path / "x.safetensors", padding="reflect")
