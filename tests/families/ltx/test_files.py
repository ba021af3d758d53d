"""Files of LTX autoencoders: names, detection, normalization, and the settings of diffusers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ltx2_vae_to_diffusers, convert_ltx_vae_checkpoint_to_diffusers
from one_frame import WEIGHTS, check_equal, check_layouts, half_of
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import layout_of
from vaekit.families.ltx.files import (
    HalfShape,
    detect_ltx,
    half_shape,
    mirrored,
    parts_of,
    settings,
)
from vaekit.families.ltx.net import LTXConfig
from vaekit.families.normalization import MEAN_AND_STD
from vaekit.identification.identify import identify

ALL = "spatiotemporal"
FIRST = LTXConfig(
    3,
    6,
    (8, 12, 16, 16, 16),
    (1,) * 5,
    ("conv",) * 3 + ("",),
    (16, 16, 16, 12, 8),
    (1,) * 5,
    ("", *[ALL] * 3),
    False,
    "zeros",
)
SECOND = LTXConfig(
    3,
    8,
    (8, 16, 16, 32, 64),
    (1, 1, 2, 1, 1),
    ("spatial", "temporal", ALL, ALL),
    (64, 32, 16, 8),
    (1, 1, 2, 1),
    (ALL,) * 3,
    True,
    "reflect",
)


def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native", "original"), type(theirs).__name__)
    check_equal(load(tmp_path / "original.safetensors"), opened, 64, 64)


def test_original_names_are_those_that_diffusers_converts(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    """Statistics of the training beside them are ignored."""
    theirs, folder = pair
    save(load(folder), tmp_path / "original.safetensors", "original")
    original = {f"vae.{key}": tensor for key, tensor in load_file(tmp_path / "original.safetensors").items()}
    if "LTX2" in type(theirs).__name__:
        converted = convert_ltx2_vae_to_diffusers(dict(original))
    else:
        converted = convert_ltx_vae_checkpoint_to_diffusers(dict(original))
        converted |= {key: theirs.state_dict()[key] for key in MEAN_AND_STD.vectors}  # it drops them
    expected = load_file(folder / WEIGHTS)
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[key], expected[key]) for key in expected)
    beside = {f"vae.per_channel_statistics.{name}": torch.zeros(3) for name in ("channel", "mean-of-stds")}
    save_file(original | beside, tmp_path / "checkpoint.safetensors")
    identified = identify(tmp_path / "checkpoint.safetensors")
    assert (identified.layout, identified.normalization) == ("original", identify(folder).normalization)


def test_the_normalization_is_in_the_tensors(pair: tuple[Any, Path]) -> None:
    theirs, folder = pair
    normalization = load(folder).normalization
    assert normalization is not None
    torch.testing.assert_close(torch.tensor(normalization.shift), theirs.latents_mean)
    torch.testing.assert_close(1 / torch.tensor(normalization.scale), theirs.latents_std)


@pytest.mark.parametrize("config", [FIRST, SECOND], ids=["0.9.0", "2"])
def test_the_config_is_read_off_the_shapes(config: LTXConfig) -> None:
    shapes = native_shapes(config)
    assert detect_ltx(shapes) == config
    encoder, decoder = (detect_ltx(half_of(shapes, half)) for half in ("encoder", "decoder"))
    assert encoder is not None and decoder is not None
    assert (encoder.encoder_widths, encoder.encoder_steps) == (config.encoder_widths, config.encoder_steps)
    assert (decoder.decoder_widths, decoder.narrowing) == (config.decoder_widths, config.narrowing)
    assert encoder.latent_channels == decoder.latent_channels == config.latent_channels


def test_near_misses_are_none() -> None:
    shapes = native_shapes(SECOND)
    assert detect_ltx({}) is None
    assert detect_ltx(shapes | {"encoder.conv_in.weight": (8, 50, 3, 3, 3)}) is None
    assert detect_ltx(shapes | {"encoder.mid.0.norm1.weight": (64,)}) is None
    odd = shapes | {"encoder.levels.0.resample.conv.weight": (3, 8, 3, 3, 3)}
    assert half_shape(odd, "encoder") is None
    assert mirrored(None) is None
    assert mirrored(HalfShape((4, 8), (1, 2), ("conv",))) == HalfShape((8, 4), (2, 1), (ALL,))


KEYS = (
    "encoder.levels.1.block.0.conv1.weight",
    "encoder.levels.1.resample.conv.bias",
    "encoder.mid.0.conv2.weight",
    "decoder.levels.1.resample.conv.weight",
    "decoder.levels.2.block.0.conv2.bias",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "original",
            (
                "encoder.down_blocks.2.res_blocks.0.conv1.conv.weight",
                "encoder.down_blocks.3.conv.conv.bias",
                "encoder.down_blocks.8.res_blocks.0.conv2.conv.weight",
                "decoder.up_blocks.3.conv.conv.weight",
                "decoder.up_blocks.6.res_blocks.0.conv2.conv.bias",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.1.resnets.0.conv1.conv.weight",
                "encoder.down_blocks.1.downsamplers.0.conv.conv.bias",
                "encoder.mid_block.resnets.0.conv2.conv.weight",
                "decoder.up_blocks.1.upsamplers.0.conv.conv.weight",
                "decoder.up_blocks.2.resnets.0.conv2.conv.bias",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "ltx")
    assert layout is not None
    assert_names(layout, SECOND, dict(zip(KEYS, foreign, strict=True)))


def test_parts_are_listed_in_order() -> None:
    assert parts_of("encoder", {0: "block widen", 2: "block"}) == [
        "encoder.levels.0.block",
        "encoder.levels.0.widen",
        "encoder.levels.2.block",
    ]


def test_a_config_json_states_the_padding(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, _ = pair
    theirs.save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text("utf-8"))
    for padding in ("zeros", "reflect"):
        changed = stated | {"decoder_spatial_padding_mode": padding}
        (tmp_path / "config.json").write_text(json.dumps(changed), "utf-8")
        assert identify(tmp_path).config.decoder_padding == padding
    other = stated | {"upsample_residual": [not each for each in stated["upsample_residual"]]}
    for changed in (other, stated | {"patch_size": 2}):
        (tmp_path / "config.json").write_text(json.dumps(changed), "utf-8")
        with refuses(UnknownVAE):
            identify(tmp_path)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (replace(SECOND, decoder_widths=(64, 16, 16, 8)), "AutoencoderKLLTX2Video"),
        (replace(SECOND, encoder_widths=(12, 16, 16, 32, 64)), "AutoencoderKLLTX2Video"),
        (replace(SECOND, decoder_padding="zeros", decoder_steps=("spatial",) * 3), "AutoencoderKLLTXVideo"),
        (replace(FIRST, decoder_widths=(12, 16, 16, 12, 8)), "AutoencoderKLLTXVideo"),
        (replace(FIRST, encoder_widths=(8, 12, 16, 16, 24)), "AutoencoderKLLTXVideo"),
    ],
)
def test_what_diffusers_cannot_express_is_refused(config: LTXConfig, name: str) -> None:
    with refuses(WrongTensors, name):
        settings(config, None)
