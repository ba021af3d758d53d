"""`vaekit encode` and `vaekit decode`: images <-> latent files that know their VAE."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.families import assemble, family_of
from vaekit.families.vq.net import VQConfig
from vaekit.normalization import LatentNormalization
from vaekit.vae import VAE

Run = Callable[..., Any]


@pytest.fixture
def latent(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> Path:
    assert run("encode", photo, "--vae", vae_file, "-o", tmp_path / "latents").code == 0
    return tmp_path / "latents" / "flower.latent.safetensors"


def changed(vae_file: Path, target: Path, normalization: LatentNormalization | None) -> Path:
    """The VAE with one weight changed, which makes it another one, and perhaps another normalization."""
    vae: VAE = load(vae_file)
    with torch.no_grad():
        next(vae.parameters()).view(-1)[0] += 1
    vae.normalization = normalization
    save(vae, target)
    return target


def test_there_and_back_equals_reconstruct(run: Run, latent: Path, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    assert run("decode", latent, "--vae", vae_file, "-o", tmp_path / "decoded").code == 0
    run("reconstruct", photo, "--vae", vae_file, "-o", tmp_path / "direct")
    with Image.open(tmp_path / "decoded/flower.png") as a, Image.open(tmp_path / "direct/flower.png") as b:
        assert a.size == (63, 53)
        assert a.tobytes() == b.tobytes()


def test_codes_go_there_and_back(run: Run, photo: Path, tmp_path: Path) -> None:
    """A vector-quantized VAE: its latent file holds codebook vectors."""
    torch.manual_seed(0)
    config = VQConfig(3, 4, 4, (8, 16), (8, 16), 1, 2, (1,), (1,), True, True, True, 4, codes=60)
    vae = tmp_path / "vq.safetensors"
    save(assemble(family_of("vq"), config, normalization=LatentNormalization()), vae, "ldm")
    assert run("inspect", vae, "--json").json["family"] == "vq"
    run("encode", photo, "--vae", vae, "-o", tmp_path)
    tensors = load_file(tmp_path / "flower.latent.safetensors")
    vectors = tensors["mean"].movedim(1, -1).reshape(-1, 4)
    assert (torch.cdist(vectors, load_file(vae)["quantize.embedding.weight"]).amin(dim=1) == 0).all()
    assert run("decode", tmp_path / "flower.latent.safetensors", "--vae", vae, "-o", tmp_path / "decoded").code == 0
    run("reconstruct", photo, "--vae", vae, "-o", tmp_path / "direct")
    with Image.open(tmp_path / "decoded/flower.png") as a, Image.open(tmp_path / "direct/flower.png") as b:
        assert a.tobytes() == b.tobytes()


def test_a_converted_copy_of_the_vae_decodes_too(run: Run, latent: Path, vae_file: Path, tmp_path: Path) -> None:
    run("convert", vae_file, tmp_path / "copy", "--layout", "diffusers")
    said = run("decode", latent, "--vae", tmp_path / "copy", "-o", tmp_path / "out", "--json")
    assert said.code == 0
    assert said.json["images"][0]["caution"] is None


def test_another_vae_of_the_same_normalization_may_decode(
    run: Run, latent: Path, vae_file: Path, tmp_path: Path
) -> None:
    other = changed(vae_file, tmp_path / "other.safetensors", load(vae_file).normalization)
    assert run("decode", latent, "--vae", other, "-o", tmp_path / "out").code == 0


def test_another_normalization_is_refused_and_explained(run: Run, latent: Path, vae_file: Path, tmp_path: Path) -> None:
    other = changed(vae_file, tmp_path / "other.safetensors", LatentNormalization(shift=(0.0,), scale=(0.18215,)))
    said = run("decode", latent, "--vae", other, "-o", tmp_path / "out", "--json")
    assert (said.code, said.json["images"]) == (1, [])
    (failure,) = said.json["failures"]
    for fact in ("0.5", "0.1", "0.18215"):
        assert fact in failure["error"]
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_an_unknown_normalization_is_a_caution(run: Run, latent: Path, vae_file: Path, tmp_path: Path) -> None:
    other = changed(vae_file, tmp_path / "other.safetensors", None)
    said = run("decode", latent, "--vae", other, "-o", tmp_path / "out", "--json")
    assert said.code == 0
    assert said.json["images"][0]["caution"]


def test_a_image_is_no_latent(run: Run, vae_file: Path, photo: Path, tmp_path: Path) -> None:
    said = run("decode", photo, "--vae", vae_file, "-o", tmp_path / "out", "--json")
    assert said.code == 1
    assert str(photo) in said.json["failures"][0]["error"]


def test_a_folder_of_latents(run: Run, latent: Path, vae_file: Path, tmp_path: Path) -> None:
    assert run("decode", latent.parent, "--vae", vae_file, "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "flower.png").is_file()
    assert run("decode", tmp_path / "out", "--vae", vae_file, "-o", tmp_path / "none").code == 1


def test_each_half_does_its_half(run: Run, photo: Path, tmp_path: Path, shared_data: Path) -> None:
    taesd = shared_data / "vae" / "taesd"
    encoder, decoder = taesd / "taesd_encoder.safetensors", taesd / "taesd_decoder.safetensors"
    assert run("encode", photo, "--vae", encoder, "-o", tmp_path).code == 0
    latent = tmp_path / "flower.latent.safetensors"
    assert run("decode", latent, "--vae", decoder, "-o", tmp_path / "halves").code == 0
    run("reconstruct", photo, "--vae", taesd, "-o", tmp_path / "whole")
    with Image.open(tmp_path / "halves/flower.png") as a, Image.open(tmp_path / "whole/flower.png") as b:
        assert a.tobytes() == b.tobytes()
    said = run("reconstruct", photo, "--vae", decoder, "-o", tmp_path / "out", "--json")
    assert said.code == 1
    assert "encoder" in said.json["failures"][0]["error"]
