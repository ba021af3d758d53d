"""Whole files whose tensors are in another order, or lack their codebook, are called that."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refuses
from safetensors.torch import save_file
from torch import Tensor

import vaekit
from vaekit.errors import WrongTensors
from vaekit.formats.open import open_tensors
from vaekit.identification.diagnosis import channels_last, other_quantizer, without_codebook
from vaekit.vae import VAE


def kept(vae: VAE, path: Path, layout: str = "diffusers") -> dict[str, Tensor]:
    vaekit.save(vae, path, layout=layout)
    file = open_tensors(path)
    return {name: tensor.clone() for name, tensor in file.read(file.specs).items()}


def permuted(tensors: Mapping[str, Tensor], order: tuple[int, ...]) -> dict[str, Tensor]:
    return {
        name: tensor.permute(order).contiguous() if tensor.dim() == 4 else tensor for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
@pytest.mark.parametrize(("order", "program"), [((0, 2, 3, 1), "MLX"), ((2, 3, 1, 0), "flax")])
def test_channels_last(order: tuple[int, ...], program: str, ending: str, kl_vae: VAE, tmp_path: Path) -> None:
    tensors = permuted(kept(kl_vae, tmp_path / "x.safetensors"), order)
    path = tmp_path / f"y{ending}"
    if ending == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        save_file(tensors, path)
    with refuses(WrongTensors, program, "permute"):
        vaekit.load(path)


def test_torchs_own_order_is_not_mistaken(kl_vae: VAE) -> None:
    for shapes in ({key: tuple(tensor.shape) for key, tensor in kl_vae.state_dict().items()}, {}, {"x": (3, 3, 3, 3)}):
        assert channels_last(Path("x"), shapes) is None


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_vq_first_stage_without_its_codebook(layout: str, prefix: str, vq_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(vq_vae, path, layout)
    del tensors["quantize.embedding.weight"]
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    with refuses(WrongTensors, "codebook", "quantize.embedding.weight") as caught:
        vaekit.load(path)
    assert "again" not in str(caught.value)


def test_an_encoder_with_variances_has_no_codebook(kl_vae: VAE) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in kl_vae.state_dict().items()}
    assert without_codebook(Path("x"), "kl", shapes) is None
    assert without_codebook(Path("x"), "kl", {}) is None


def test_families_without_variances_lack_no_codebook() -> None:
    ends = {"encoder.conv_out.weight": (8, 16, 3, 3), "decoder.conv_in.weight": (16, 8, 3, 3)}
    assert without_codebook(Path("x"), "dcae", ends) is None
    assert without_codebook(Path("x"), "kl", ends) is not None


@pytest.mark.parametrize("key", ["quantize.layers.0.embed", "quantizer.scale", "codebook.usage", "vq_layer.x"])
def test_quantizers_of_other_kinds_are_named(key: str, kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(kept(kl_vae, path) | {key: torch.zeros(3)}, path)
    with refuses(WrongTensors, key, "vector-quantized"):
        vaekit.load(path)
    assert other_quantizer(path, ["decoder.x"], "") is None


def test_a_tensor_that_is_missing_is_not_blamed_on_the_download(kl_vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = kept(kl_vae, path)
    del tensors["decoder.conv_in.bias"]
    save_file(tensors, path)
    with refuses(WrongTensors, "decoder.conv_in.bias") as caught:
        vaekit.load(path)
    assert "again" not in caught.value.remedy
