"""Parity with diffusers' Wan 2.2 and Qwen-Image 2.1 run on one frame, and of the files in between."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from one_frame import check_layouts
from safetensors.torch import load_file, save_file
from torch import nn

from vaekit import load, save
from vaekit.families.wan22.net import Wan22Config, into_squares, out_of_squares
from vaekit.identification.identify import identify
from vaekit.runtime.engine import Engine

SMALL: dict[str, Any] = {"base_dim": 8, "latents_mean": [0.5, 0.0, -1.0, 0.25], "latents_std": [2.0, 1.0, 0.5, 4.0]}
WAN: dict[str, Any] = SMALL | {
    "z_dim": 4,
    "decoder_base_dim": 16,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}
TRUNKS: dict[str, dict[str, Any]] = {
    "as published": {},
    "other levels in time": {"dim_mult": [1, 2, 2], "temperal_downsample": [True, False], "scale_factor_spatial": 8},
}


def randomized(theirs: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in theirs.named_parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * (0.3 if key.endswith("gamma") else 0.05))
    return theirs.eval()


def wan_2_2(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return randomized(diffusers.AutoencoderKLWan(**(WAN | changes)))


@torch.no_grad()
def check_equal(ours: Any, theirs: nn.Module, channels: int = 3) -> None:
    for height, width in ((64, 64), (80, 48), (16, 112)):
        x = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
        expected, posterior = theirs.encode(x.unsqueeze(2)).latent_dist, ours.encode(x)
        assert expected.mean.std() > 0.05
        assert (posterior.mean - expected.mean.squeeze(2)).abs().max() <= 1e-4
        assert (posterior.log_variance - expected.logvar.squeeze(2)).abs().max() <= 1e-4
        image = theirs.decode(expected.mean).sample.squeeze(2)
        assert image.std() > 0.05
        assert (image.abs() < 1).float().mean() > 0.5
        assert (ours.decode(expected.mean.squeeze(2)).clamp(-1, 1) - image).abs().max() <= 1e-4


@pytest.mark.parametrize("trunk", TRUNKS)
def test_equal_to_diffusers_in_both_directions(tmp_path: Path, trunk: str) -> None:
    theirs = wan_2_2(**TRUNKS[trunk])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    assert ours.config.geometry.factors[0] == theirs.config.scale_factor_spatial
    check_equal(ours, theirs)
    save(ours, tmp_path / "original.safetensors", "original")
    save(load(tmp_path / "original.safetensors"), tmp_path / "again", "diffusers")
    before, after = (load_file(tmp_path / f / "diffusion_pytorch_model.safetensors") for f in ("theirs", "again"))
    assert before.keys() == after.keys()
    assert all(before[key].shape == after[key].shape and torch.equal(before[key], after[key]) for key in before)
    opened = diffusers.AutoencoderKLWan.from_pretrained(tmp_path / "again").eval()
    assert {key: opened.config[key] for key in WAN} == {key: theirs.config[key] for key in WAN}
    check_equal(ours, opened)


def test_original_names_are_those_of_the_published_file(tmp_path: Path) -> None:
    """Names of Wan2.2_VAE.pth: at the end of a level stands what would be its next block."""
    wan_2_2().save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "original.safetensors", "original")
    names = load_file(tmp_path / "original.safetensors").keys()
    assert len(names) == 196
    assert names >= {
        "encoder.downsamples.0.downsamples.0.residual.2.weight",
        "encoder.downsamples.1.downsamples.0.shortcut.weight",
        "encoder.downsamples.1.downsamples.2.time_conv.weight",
        "encoder.downsamples.0.downsamples.2.resample.1.weight",
        "decoder.upsamples.0.upsamples.3.time_conv.weight",
        "decoder.upsamples.2.upsamples.3.resample.1.weight",
        "decoder.upsamples.3.upsamples.2.residual.6.bias",
    }
    assert "decoder.upsamples.2.upsamples.3.time_conv.weight" not in names


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_half_is_told_from_a_half_of_wan_2_1(tmp_path: Path, half: str) -> None:
    wan_2_2().save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "original.safetensors", "original")
    outside = {"encoder": "conv1.", "decoder": "conv2."}[half]
    tensors = load_file(tmp_path / "original.safetensors")
    save_file({key: t for key, t in tensors.items() if key.startswith((half, outside))}, tmp_path / "half.safetensors")
    identified = identify(tmp_path / "half.safetensors")
    assert (identified.family.name, identified.halves) == ("wan2.2", (half,))


def test_qwen_image_2_1_is_of_this_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = SMALL | {"z_dim": 4, "decoder_base_dim": 12}
    theirs = randomized(diffusers.AutoencoderKLQwenImage21(**small))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    assert isinstance(ours.config, Wan22Config)
    assert (ours.config.geometry.channels, ours.config.patch, ours.config.temporal) == (4, 1, False)
    check_equal(ours, theirs, channels=4)
    opened = check_layouts(tmp_path / "theirs", tmp_path, ("native", "original"), "AutoencoderKLQwenImage21")
    check_equal(ours, opened, channels=4)


def test_squares_count_columns_slower_than_rows() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    squares = into_squares(x, 2)
    assert squares.shape == (2, 12, 2, 3)
    assert torch.equal(squares[:, 1::4], x[:, :, 1::2, ::2])
    assert torch.equal(out_of_squares(squares, 2), x)


@torch.no_grad()
def test_the_engine_takes_any_size(tmp_path: Path) -> None:
    wan_2_2().save_pretrained(tmp_path / "theirs")
    engine = Engine(load(tmp_path / "theirs"))
    x = torch.rand(1, 3, 70, 100)
    assert engine.encode(x).mean.shape == (1, 4, 5, 7)
    assert engine.reconstruct(x).shape == x.shape
