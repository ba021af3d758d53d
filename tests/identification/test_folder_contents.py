"""Folders that are not one VAE are called what they are, and the file that is meant is named."""

import json
from pathlib import Path

import pytest
from refusals import refuses

import vaekit
from vaekit.errors import NotFound
from vaekit.identification.folder_contents import MOST_ENTRIES, Folder, is_training_state, named_parts, not_one_vae

INDEX = json.dumps({"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "transformer": ["x", "y"]})
FOLDERS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "accelerate": (
        {"model.safetensors": "", "optimizer.bin": "", "scheduler.bin": "", "random_states_0.pkl": ""},
        ("training", "model.safetensors", "optimizer.bin"),
    ),
    "two files": ({"model.safetensors": "", "optimizer.pt": ""}, ("training", "model.safetensors")),
    "checkpoints": (
        {f"checkpoint-{step}/{name}": "" for step in (500, 1000) for name in ("model.safetensors", "optimizer.bin")},
        ("training", "checkpoint-1000/model.safetensors"),
    ),
    "Lightning": (
        {"hparams.yaml": "", "checkpoints/epoch=1-step=99.ckpt": "", "checkpoints/epoch=2-step=150.ckpt": ""},
        ("training", "epoch=2-step=150.ckpt"),
    ),
    "Lightning with the last": (
        dict.fromkeys(("epoch=1-step=99.ckpt", "epoch=2-step=150.ckpt", "last.ckpt"), ""),
        ("training", "last.ckpt is", "epoch=1-step=99.ckpt", "epoch=2-step=150.ckpt"),
    ),
    "the best and the latest": (
        {"best.pt": "", "latest.pt": "", "model.pt": "", "notes.txt": ""},
        ("training", "latest.pt is", "best.pt, model.pt"),
    ),
    "a VAE among others": (
        {f"checkpoint-5/{name}/diffusion_pytorch_model.safetensors": "" for name in ("unet", "vae", "controlnet")},
        ("training", "checkpoint-5/vae/diffusion_pytorch_model.safetensors"),
    ),
    "a pipeline": (
        {"model_index.json": INDEX, "transformer/diffusion_pytorch_model.safetensors": ""},
        ("pipeline", "transformer", "vae"),
    ),
    "a pipeline with a VQ": (
        {"model_index.json": INDEX, "vqvae/diffusion_pytorch_model.bin": "", "unet/x.bin": ""},
        ("pipeline", "vqvae/diffusion_pytorch_model.bin"),
    ),
    "a run": ({"recipe.json": "{}", "checkpoints/0001.safetensors": "", "log.jsonl": ""}, ("training", "command")),
    "the Hub's cache": ({"blobs/ab": "", "snapshots/c0ffee/vae.pt": "", "refs/main": ""}, ("cache", "c0ffee")),
    "SavedModel": ({"saved_model.pb": "", "variables/variables.index": ""}, ("SavedModel",)),
    "Core ML": ({"Manifest.json": "{}", "Data/com.apple.CoreML/model.mlmodel": ""}, ("Core ML",)),
    "ONNX": ({"vae_decoder/model.onnx": "", "vae_encoder/model.onnx": ""}, ("ONNX",)),
    "torch.export": ({"decoder.pt2": "", "encoder.pt2": ""}, ("torch.export",)),
    "an ONNX pipeline": ({"model_index.json": INDEX, "vae_decoder/model.onnx": ""}, ("ONNX",)),
    "OpenVINO": ({"vae/openvino_model.xml": "", "vae/openvino_model.bin": ""}, ("OpenVINO",)),
    "flax": ({"config.txt": "", "diffusion_flax_model.msgpack": ""}, ("flax",)),
    "files without order": ({f"{name}.pt": "" for name in "abc"}, ("3", "a.pt")),
    "a VAE in order": ({f"{name}.pt": "" for name in ("clip", "my-vae", "unet")}, ("3", "my-vae.pt")),
    "a model further below": ({"models/stuff/model.safetensors": ""}, ("models/stuff/model.safetensors",)),
    "a diffusers folder further below": (
        {"sd/vqvae/config.json": "{}", "sd/vqvae/diffusion_pytorch_model.bin": "", "sd/unet/x.bin": ""},
        ("sd/vqvae is",),
    ),
    "nothing": ({"readme.txt": ""}, ("weights file",)),
}


def made(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_called_what_they_are(name: str, tmp_path: Path) -> None:
    files, facts = FOLDERS[name]
    with refuses(NotFound, *facts):
        vaekit.load(made(tmp_path / "folder", files))


@pytest.mark.parametrize("name", ["optimizer.bin", "scheduler.pt", "mp_rank_00_optim_states.pt", "discriminator.pth"])
def test_states_of_training_by_their_names(name: str) -> None:
    assert is_training_state(Path("x") / name)


@pytest.mark.parametrize("name", ["model.safetensors", "vae.pt", "disco_vae.pt", "encoder.pth"])
def test_weights_are_no_state(name: str) -> None:
    assert not is_training_state(Path("optimizer") / name)


@pytest.mark.parametrize("content", ["", "[1]", "{", '"x"', "[" * 10**5])
def test_odd_indexes_list_no_parts(content: str, tmp_path: Path) -> None:
    made(tmp_path, {"model_index.json": content})
    assert named_parts(tmp_path / "model_index.json") == []
    with refuses(NotFound, "pipeline"):
        vaekit.load(tmp_path)


def test_loops_and_large_folders_end(tmp_path: Path) -> None:
    made(tmp_path, {f"{i}.txt": "" for i in range(50)})
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(Folder(tmp_path).entries) == 51 < MOST_ENTRIES
    assert "absent" in not_one_vae(tmp_path / "absent", []).found
