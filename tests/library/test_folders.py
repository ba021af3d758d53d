"""What a models folder holds: any depth, links and loops, other programs' shelves, diffusers folders."""

import os
from pathlib import Path

import pytest
from refusals import refuses

from vaekit.errors import CannotWrite
from vaekit.library.folders import folder_for_new, models_folders, scan, scan_all


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(folder: Path) -> list[str]:
    return [entry.relative for entry in scan(folder)[0]]


def test_weights_of_any_depth_and_nothing_else(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    put(tmp_path / "z.safetensors", deep / "x.CKPT", deep / "y.pt", tmp_path / "notes.txt", tmp_path / "preview.png")
    put(tmp_path / ".hidden.pt", tmp_path / ".folder" / "x.pt", tmp_path / "x.pt.part", tmp_path / "x.safetensors.tmp")
    assert found(tmp_path) == ["a/b/c/x.CKPT", "a/b/c/y.pt", "z.safetensors"]


def test_an_unfinished_download_is_trouble(tmp_path: Path) -> None:
    put(tmp_path / "x.safetensors", tmp_path / "x.safetensors.aria2")
    entries, troubles = scan(tmp_path)
    assert entries == []
    assert [(trouble.path.name, trouble.reason) for trouble in troubles] == [
        ("x.safetensors", "its download is incomplete")
    ]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "x.pt", tmp_path / "models" / "y.pt")
    models = tmp_path / "models"
    (models / "link").symlink_to(tmp_path / "elsewhere")
    (models / "again").symlink_to(tmp_path / "elsewhere")
    (models / "loop").symlink_to(models)
    (models / "file.pt").symlink_to(tmp_path / "elsewhere" / "x.pt")
    (models / "nothing.pt").symlink_to("nowhere")
    entries, troubles = scan(models)
    assert sorted(entry.path.name for entry in entries) == ["file.pt", "x.pt", "y.pt"]
    assert [trouble.reason for trouble in troubles] == ["a broken link"]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "folder.pt").mkdir()
    put(tmp_path / "folder.pt" / "x.pt")
    assert found(tmp_path) == ["folder.pt/x.pt"]


def test_a_folder_that_is_not_there_is_trouble(tmp_path: Path) -> None:
    entries, (trouble,) = scan(tmp_path / "none")
    assert (entries, trouble.path) == ([], tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_folder_is_trouble(tmp_path: Path) -> None:
    put(tmp_path / "x.pt", tmp_path / "locked" / "y.pt")
    (tmp_path / "locked").chmod(0)
    entries, troubles = scan(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert ([entry.path.name for entry in entries], len(troubles)) == (["x.pt"], 1)


def test_very_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 600)
    deep.mkdir(parents=True)
    put(deep / "x.pt")
    assert len(found(tmp_path)) == 1


@pytest.mark.parametrize("inside", ["", "models"])
@pytest.mark.parametrize(("vaes", "checkpoints"), [("VAE", "Stable-diffusion"), ("vae", "checkpoints")])
def test_of_a_programs_folder_only_the_shelves(tmp_path: Path, inside: str, vaes: str, checkpoints: str) -> None:
    models = tmp_path / inside
    put(models / vaes / "a.pt", models / checkpoints / "sub" / "b.ckpt", models / "Lora" / "c.safetensors")
    put(models / "VAE-approx" / "d.pt")
    names = {Path(relative).name for relative in found(tmp_path)}
    assert names == {"a.pt", "b.ckpt", "d.pt"}
    assert folder_for_new([tmp_path]) == models / vaes


def test_a_folder_called_vae_is_no_shelf_alone(tmp_path: Path) -> None:
    put(tmp_path / "vae" / "a.pt", tmp_path / "other" / "b.pt")
    assert found(tmp_path) == ["other/b.pt", "vae/a.pt"]


CONFIG = '{"_class_name": "AutoencoderKL"}'


def test_a_diffusers_folder_is_one_vae(tmp_path: Path) -> None:
    put(tmp_path / "mine" / "diffusion_pytorch_model.safetensors", tmp_path / "mine" / "diffusion_pytorch_model.bin")
    (tmp_path / "mine" / "config.json").write_text(CONFIG)
    (entry,) = scan(tmp_path)[0]
    assert (entry.relative, entry.stem, entry.ending) == ("mine", "mine", "")
    assert [file.name for file in entry.files] == ["diffusion_pytorch_model.safetensors", "config.json"]


def test_of_a_pipeline_only_the_vae(tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline"
    put(pipeline / "vae" / "diffusion_pytorch_model.safetensors", pipeline / "unet" / "x.safetensors")
    put(pipeline / "whole.safetensors", pipeline / "model_index.json")
    (pipeline / "vae" / "config.json").write_text(CONFIG)
    assert found(tmp_path) == ["pipeline", "pipeline/whole.safetensors"]
    assert found(pipeline) == ["pipeline", "whole.safetensors"]


@pytest.mark.parametrize("config", ['{"_class_name": "UNet2DConditionModel"}', "[]", "not json", "[" * 5000])
def test_another_config_makes_no_vae(tmp_path: Path, config: str) -> None:
    put(tmp_path / "x" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "x" / "config.json").write_text(config)
    assert found(tmp_path) == ["x/diffusion_pytorch_model.safetensors"]


def test_where_the_folders_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VAEKIT_MODELS", os.pathsep.join([str(tmp_path), "", "~/vaes"]))
    assert models_folders() == (tmp_path, Path.home() / "vaes")
    assert models_folders([tmp_path / "x"]) == (tmp_path / "x",)
    monkeypatch.delenv("VAEKIT_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_folders() == (tmp_path / "vaekit" / "models",)
    monkeypatch.delenv("XDG_DATA_HOME")
    assert models_folders() == (Path.home() / ".local" / "share" / "vaekit" / "models",)


def test_the_first_folder_that_can_be_written(tmp_path: Path) -> None:
    put(tmp_path / "file")
    assert folder_for_new([tmp_path / "file", tmp_path / "new" / "deep"]) == tmp_path / "new" / "deep"
    with refuses(CannotWrite, "--models"):
        folder_for_new([tmp_path / "file"])


def test_a_folder_inside_another_is_told_once(tmp_path: Path) -> None:
    put(tmp_path / "sub" / "x.pt", tmp_path / "y.pt")
    entries, _ = scan_all([tmp_path, tmp_path / "sub"])
    assert [entry.relative for entry in entries] == ["sub/x.pt", "y.pt"]
