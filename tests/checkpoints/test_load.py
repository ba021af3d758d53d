"""Loading is strict: every tensor comes from the file, or the error names what is wrong by the file's own names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit.checkpoints.load import load
from vaekit.checkpoints.save import save
from vaekit.errors import HalfMissing, NotFound, WrongTensors
from vaekit.vae import VAE

LAST_UP = {
    "native": "decoder.up.0.block.1.conv1.weight",
    "ldm": "decoder.up.0.block.1.conv1.weight",
    "diffusers": "decoder.up_blocks.1.resnets.1.conv1.weight",
}
POST = {
    "native": "decoder.post_quant_conv.bias",
    "ldm": "post_quant_conv.bias",
    "diffusers": "post_quant_conv.bias",
}


def altered(vae: VAE, path: Path, layout: str, change: Callable[[dict[str, Tensor]], object], prefix: str = "") -> Path:
    save(vae, path, layout)
    tensors = load_file(path)
    change(tensors)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
@pytest.mark.parametrize("layout", LAST_UP)
def test_a_missing_tensor_is_named_as_the_file_would(kl_vae: VAE, tmp_path: Path, layout: str, prefix: str) -> None:
    for name in (LAST_UP[layout], POST[layout]):
        path = altered(kl_vae, tmp_path / "x.safetensors", layout, lambda tensors, name=name: tensors.pop(name), prefix)
        with refuses(WrongTensors, "1", prefix + name):
            load(path)


@pytest.mark.parametrize("layout", LAST_UP)
def test_a_tensor_too_many_is_named(kl_vae: VAE, tmp_path: Path, layout: str) -> None:
    for extra in ("decoder.extra.weight", "bn.weight", LAST_UP[layout].replace("conv1", "conv9")):
        path = altered(
            kl_vae,
            tmp_path / "x.safetensors",
            layout,
            lambda tensors, extra=extra: tensors.update({extra: torch.ones(1)}),
        )
        with refuses(WrongTensors, "1", extra):
            load(path)


@pytest.mark.parametrize("layout", LAST_UP)
def test_a_misshapen_tensor_is_named(kl_vae: VAE, tmp_path: Path, layout: str) -> None:
    name = LAST_UP[layout]
    path = altered(
        kl_vae, tmp_path / "x.safetensors", layout, lambda tensors: tensors.update({name: torch.ones(32, 31, 3, 3)})
    )
    with refuses(WrongTensors, "1", f"{name} [32, 31, 3, 3]", "[32, 32, 3, 3]"):
        load(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_weights_that_are_no_fractions_are_refused(kl_vae: VAE, tmp_path: Path, dtype: torch.dtype) -> None:
    name = LAST_UP["ldm"]
    path = altered(
        kl_vae, tmp_path / "x.safetensors", "ldm", lambda tensors: tensors.update({name: tensors[name].to(dtype)})
    )
    with refuses(WrongTensors, "1", name):
        load(path)


def test_tensors_are_never_filled_in(tiny_vae: VAE, tmp_path: Path) -> None:
    path = altered(
        tiny_vae, tmp_path / "x.safetensors", "diffusers", lambda tensors: tensors.pop("decoder.layers.2.conv.0.bias")
    )
    with refuses(WrongTensors, "decoder.layers.2.conv.0.bias"):
        load(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.ckpt", "x.bin", "x.safetensors"])
def test_pickled_checkpoints_load_bit_for_bit(kl_vae: VAE, tmp_path: Path, name: str, legacy: bool) -> None:
    save(kl_vae, tmp_path / "source.safetensors", "ldm")
    weights = {f"first_stage_model.{key}": value for key, value in load_file(tmp_path / "source.safetensors").items()}
    content = {"state_dict": weights, "epoch": 7, "global_step": 840_000, "hyper_parameters": {"lr": 1e-4}}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    loaded = load(tmp_path / name).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in kl_vae.state_dict().items())


def test_a_loaded_vae_can_be_trained(kl_vae: VAE, tmp_path: Path) -> None:
    save(kl_vae, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    vae = load(tmp_path / "x.safetensors")
    vae.reconstruct(torch.zeros(1, 3, 8, 8)).sum().backward()
    torch.optim.SGD(vae.parameters(), lr=1.0).step()
    assert not torch.equal(vae.state_dict()["encoder.conv_in.bias"], kl_vae.state_dict()["encoder.conv_in.bias"])
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_half_a_vae_says_what_it_lacks(kl_vae: VAE, tmp_path: Path) -> None:
    kl_vae.decoder = None
    save(kl_vae, tmp_path / "x.safetensors")
    half = load(tmp_path / "x.safetensors")
    assert half.encode(torch.zeros(1, 3, 8, 8)).mean.shape == (1, 4, 4, 4)
    with refuses(HalfMissing, "encoder"):
        half.decode(torch.zeros(1, 4, 4, 4))


@pytest.mark.parametrize("name", ["no-such-vae", "", "x" * 5000, "nul\0byte", "esc\x1b[2J"])
def test_a_name_that_nothing_has(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        load(name)
    assert "builtin" in str(caught.value) or not name
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("folder", ["taesd", "taesd3", "taef2"])
def test_the_published_tiny_decoders_draw_what_their_authors_drew(shared_data: Path, folder: str) -> None:
    reference = load_file(shared_data / "vae" / "reference" / "tiny_reference_fp32_cpu.safetensors")
    vae = load(shared_data / "vae" / folder).float()
    with torch.no_grad():
        drawn = (vae.decode(reference[f"{folder}.latent"]) + 1) / 2
    torch.testing.assert_close(drawn, reference[f"{folder}.image"], atol=1e-4, rtol=1e-4)
