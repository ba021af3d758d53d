"""Parity with diffusers' AutoencoderKLHunyuanImage on random weights, and the files between them."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vaekit import load, save
from vaekit.families.hunyuan_image.net import into_channels, out_of_channels
from vaekit.identification.identify import identify
from vaekit.runtime.engine import Engine

SHAPES: dict[str, dict[str, Any]] = {
    "as published": {"block_out_channels": (32, 64, 128, 128), "layers_per_block": 2, "latent_channels": 16},
    "two levels": {"block_out_channels": (32, 64), "layers_per_block": 1, "latent_channels": 4},
    "equal widths": {"block_out_channels": (64, 64, 64), "layers_per_block": 1, "latent_channels": 8},
}


def theirs_of(shape: str) -> nn.Module:
    torch.manual_seed(0)
    config = SHAPES[shape]
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    theirs = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, sample_size=64, spatial_compression_ratio=factor, scaling_factor=0.5, **config
    ).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(torch.randn(weight.shape) * 0.02)
    return theirs


@torch.no_grad()
def check_equal(ours: Any, theirs: nn.Module) -> None:
    for height, width in ((64, 64), (72, 40), (8, 104)):
        x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
        expected, posterior = theirs.encode(x).latent_dist, ours.encode(x)
        assert expected.mean.std() > 0.05
        assert (posterior.mean - expected.mean).abs().max() <= 1e-4
        assert (posterior.log_variance - expected.logvar).abs().max() <= 1e-4
        image = theirs.decode(expected.mean).sample
        assert image.std() > 0.05
        assert (ours.decode(expected.mean) - image).abs().max() <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_diffusers_in_both_directions(tmp_path: Path, shape: str) -> None:
    theirs = theirs_of(shape)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs")
    assert ours.normalization is not None
    assert (ours.normalization.scale, ours.normalization.shift) == ((0.5,), (0.0,))
    check_equal(ours, theirs)
    save(ours, tmp_path / "original.safetensors", "original")
    save(load(tmp_path / "original.safetensors"), tmp_path / "again", "diffusers")
    before, after = (load_file(tmp_path / f / "diffusion_pytorch_model.safetensors") for f in ("theirs", "again"))
    assert before.keys() == after.keys()
    assert all(before[key].shape == after[key].shape and torch.equal(before[key], after[key]) for key in before)
    opened = diffusers.AutoModel.from_pretrained(str(tmp_path / "again")).eval()
    assert isinstance(opened, diffusers.AutoencoderKLHunyuanImage)
    assert opened.config.scaling_factor == 0.5
    check_equal(ours, opened)


def test_the_authors_file_keeps_a_slice_in_time(tmp_path: Path) -> None:
    """Its kernels are (out, in, 1, rows, columns) behind `vae.`, in the names that Tencent's code gives them."""
    theirs = theirs_of("as published")
    theirs.save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "original.safetensors", "original")
    flat = load_file(tmp_path / "original.safetensors")
    names = {
        "decoder.up.0.upsample.conv.weight",
        "encoder.down.2.downsample.conv.bias",
        "decoder.mid.attn_1.proj_out.bias",
    }
    assert names <= flat.keys()
    deep = {f"vae.{key}": tensor.unsqueeze(2) if tensor.dim() == 4 else tensor for key, tensor in flat.items()}
    save_file({key: tensor.contiguous() for key, tensor in deep.items()}, tmp_path / "deep.safetensors")
    identified = identify(tmp_path / "deep.safetensors")
    assert (identified.family.name, identified.layout) == ("hunyuan-image", "original")
    check_equal(load(tmp_path / "deep.safetensors"), theirs)


def test_pixels_come_back_from_channels() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    channels = into_channels(x)
    assert channels.shape == (2, 12, 2, 3)
    assert torch.equal(channels[:, 3:6], x[:, :, ::2, 1::2])
    assert torch.equal(out_of_channels(channels), x)


@torch.no_grad()
def test_the_engine_takes_any_size(tmp_path: Path) -> None:
    theirs_of("as published").save_pretrained(tmp_path / "theirs")
    engine = Engine(load(tmp_path / "theirs"))
    x: Tensor = torch.rand(1, 3, 70, 100)
    assert engine.encode(x).mean.shape == (1, 16, 9, 13)
    assert engine.reconstruct(x).shape == x.shape
