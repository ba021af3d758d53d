"""Parity with diffusers' video autoencoders run on one frame, and of the files in between."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from one_frame import in_least_memory
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vaekit import load, save
from vaekit.families.wan.net import CausalConv
from vaekit.identification.identify import identify
from vaekit.runtime.engine import Engine

CLASSES = {"Wan 2.1": diffusers.AutoencoderKLWan, "Qwen-Image": diffusers.AutoencoderKLQwenImage}
SMALL: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 4,
    "latents_mean": [0.5, 0.0, -1.0, 0.25],
    "latents_std": [2.0, 1.0, 0.5, 4.0],
}
TRUNKS: dict[str, dict[str, Any]] = {
    "as published": {},
    "other levels in time": {"dim_mult": [1, 3, 2], "temperal_downsample": [True, False]},
    "one block": {"dim_mult": [1, 2], "temperal_downsample": [True], "num_res_blocks": 1},
}
SIZES = [(64, 64), (72, 40), (8, 104)]


def theirs_of(name: str, **changes: Any) -> nn.Module:
    """A video autoencoder of diffusers whose every weight is random, norms and biases included."""
    torch.manual_seed(0)
    theirs = CLASSES[name](**(SMALL | changes)).eval()
    with torch.no_grad():
        for key, weight in theirs.named_parameters():
            weight.add_(torch.randn(weight.shape) * (0.3 if key.endswith("gamma") else 0.05))
    return theirs


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def moments_of(theirs: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    posterior = theirs.encode(x.unsqueeze(2)).latent_dist
    return posterior.mean.squeeze(2), posterior.logvar.squeeze(2)


def decoded_by(theirs: nn.Module, z: Tensor) -> Tensor:
    return theirs.decode(z.unsqueeze(2)).sample.squeeze(2)


@torch.no_grad()
def check_equal(ours: Any, theirs: nn.Module, height: int, width: int) -> None:
    x = images(height, width)
    mean, log_variance = moments_of(theirs, x)
    posterior = ours.encode(x)
    assert mean.std() > 0.05
    assert (posterior.mean - mean).abs().max() <= 1e-4
    assert (posterior.log_variance - log_variance).abs().max() <= 1e-4
    image, expected = ours.decode(mean), decoded_by(theirs, mean)
    assert expected.std() > 0.05
    assert (expected.abs() < 1).float().mean() > 0.5
    assert (image.clamp(-1, 1) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("trunk", TRUNKS)
def test_equal_to_diffusers_on_one_frame(tmp_path: Path, name: str, trunk: str) -> None:
    theirs = theirs_of(name, **TRUNKS[trunk])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    assert ours.normalization is not None
    assert ours.normalization.shift == tuple(SMALL["latents_mean"])
    assert ours.normalization.scale == tuple(1 / value for value in SMALL["latents_std"])
    for height, width in SIZES:
        check_equal(ours, theirs, height, width)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_converted_folder_opens_in_diffusers_with_equal_output(tmp_path: Path, name: str) -> None:
    theirs = theirs_of(name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    save(ours, tmp_path / "original.safetensors", "original")
    save(load(tmp_path / "original.safetensors"), tmp_path / "again", "diffusers")
    before, after = (load_file(tmp_path / f / "diffusion_pytorch_model.safetensors") for f in ("theirs", "again"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].shape == after[key].shape for key in before)
    for opener in (diffusers.AutoModel, *CLASSES.values()):
        opened = opener.from_pretrained(str(tmp_path / "again")).eval()
        assert opened.config.latents_mean == SMALL["latents_mean"]
        assert opened.config.latents_std == SMALL["latents_std"]
        check_equal(ours, opened, 72, 40)


def test_original_names_are_those_that_diffusers_converts(tmp_path: Path) -> None:
    """diffusers' own converter, written for the authors' checkpoint, is the judge of what their names are."""
    theirs = theirs_of("Wan 2.1")
    theirs.save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "original.safetensors", "original")
    original = load_file(tmp_path / "original.safetensors")
    converted = convert_wan_vae_to_diffusers(dict(original))
    expected = theirs.state_dict()
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[key], expected[key]) for key in expected)
    behind = {f"vae.{key}": tensor for key, tensor in original.items()}
    save_file(behind, tmp_path / "checkpoint.safetensors")
    assert identify(tmp_path / "checkpoint.safetensors").layout == "original"
    check_equal(load(tmp_path / "checkpoint.safetensors"), theirs, 72, 40)


def pruned(theirs: nn.Module, axes: int) -> dict[str, Tensor]:
    """What Qwen2D-VAE did: the last slice in time of each kernel, no convolutions over time, norms of an image.

    With three axes that slice keeps an axis of its own.
    """
    kept = {key: tensor for key, tensor in theirs.state_dict().items() if "time_conv" not in key}
    last = {key: tensor[:, :, -1:] if tensor.dim() == 5 else tensor for key, tensor in kept.items()}
    if axes == 2:
        last = {key: tensor.squeeze(-3) if tensor.dim() == 5 else tensor for key, tensor in last.items()}
        last = {key: tensor.view(-1, 1, 1) if key.endswith("gamma") else tensor for key, tensor in last.items()}
    return {key: tensor.contiguous() for key, tensor in last.items()}


@pytest.mark.parametrize("axes", [2, 3])
def test_a_copy_pruned_to_a_single_frame_gives_the_same_images(tmp_path: Path, axes: int) -> None:
    theirs = theirs_of("Qwen-Image")
    save_file(pruned(theirs, axes), tmp_path / "pruned.safetensors")
    identified = identify(tmp_path / "pruned.safetensors")
    assert (identified.family.name, identified.config.temporal, identified.config.time_levels) == ("wan", False, ())
    check_equal(load(tmp_path / "pruned.safetensors"), theirs, 72, 40)


@torch.no_grad()
def test_the_engine_takes_any_size(tmp_path: Path) -> None:
    theirs_of("Wan 2.1").save_pretrained(tmp_path / "theirs")
    engine = Engine(load(tmp_path / "theirs"))
    x = images(70, 100)
    assert engine.encode(x).mean.shape == (2, 4, 9, 13)
    assert engine.reconstruct(x).shape == x.shape


@torch.no_grad()
def test_half_precision_normalizes_in_single() -> None:
    """Squares of 500 overflow in fp16."""
    from vaekit.families.wan.net import RMSNorm

    x = torch.full((1, 8, 2, 2), 500.0)
    assert torch.allclose(RMSNorm(8, 3).half()(x.half()).float(), torch.ones_like(x))


def test_one_frame_meets_the_last_slice_only() -> None:
    torch.manual_seed(0)
    layer = CausalConv(3, 5, 3)
    x = images(6, 7).requires_grad_()
    expected = nn.functional.conv3d(nn.functional.pad(x.unsqueeze(2), (1, 1, 1, 1, 2, 0)), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected.squeeze(2))
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[:, :, :-1].abs().max() == 0


# ----------------------------------------------------------------------------------------------- decoders that upscale


def upscaler(factor: int) -> nn.Module:
    """A VAE of diffusers with a decoder whose output channels are squares of pixels."""
    return theirs_of("Wan 2.1", out_channels=3 * factor**2)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("factor", [2, 3])
@torch.no_grad()
def test_output_channels_become_squares_of_pixels(factor: int, layout: str, tmp_path: Path) -> None:
    theirs = upscaler(factor)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    if layout == "original":
        save(ours, tmp_path / "x.safetensors", layout)
        ours = load(tmp_path / "x.safetensors")
    assert (ours.geometry.channels, ours.geometry.factors, ours.geometry.upscale) == (3, (8, 8), factor)
    x = images(24, 16)
    mean, _ = moments_of(theirs, x)
    expected = F.pixel_shuffle(decoded_by(theirs, mean), factor)
    assert (ours.encode(x).mean - mean).abs().max() <= 1e-4
    assert expected.shape[2:] == (24 * factor, 16 * factor)
    assert (ours.decode(mean).clamp(-1, 1) - expected).abs().max() <= 1e-4
    assert ours.reconstruct(x).shape == x.shape


@torch.no_grad()
def test_the_decoder_alone_and_under_a_memory_limit(tmp_path: Path) -> None:
    upscaler(2).save_pretrained(tmp_path / "theirs")
    whole = load(tmp_path / "theirs")
    path = tmp_path / "theirs" / "diffusion_pytorch_model.safetensors"
    kept = {name: t for name, t in load_file(path).items() if name.startswith(("decoder.", "post_quant_conv."))}
    save_file(kept, tmp_path / "decoder.safetensors")
    half = load(tmp_path / "decoder.safetensors")
    assert (half.encoder, half.geometry) == (None, whole.geometry)
    z = torch.randn(1, 4, 24, 20, generator=torch.Generator().manual_seed(0))
    expected = whole.decode(z)
    assert torch.equal(half.decode(z), expected)
    decoded = in_least_memory(half, lambda engine: engine.decode(z, (189, 160)))
    assert decoded.shape == (1, 3, 378, 320)
    assert (decoded - expected[:, :, :378]).abs().max() <= 1e-4


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_upscaler_is_saved_as_diffusers_has_it(tmp_path: Path) -> None:
    upscaler(2).save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "again", "diffusers")
    opened = diffusers.AutoencoderKLWan.from_pretrained(str(tmp_path / "again"))
    assert (opened.config.in_channels, opened.config.out_channels) == (3, 12)
