"""Files of CogVideoX: names, detection, and the settings of diffusers."""

from dataclasses import replace
from pathlib import Path

import pytest
from one_frame import check_equal, check_layouts, half_of
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import layout_of
from vaekit.families.cogvideox.files import detect_cogvideox, norm_names, settings
from vaekit.families.cogvideox.net import CogVideoXConfig
from vaekit.families.hunyuan_video.net import HunyuanVideoConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG = CogVideoXConfig(3, 4, (32, 64, 96), (96, 64, 32), 1, 2)
SHAPES = native_shapes(CONFIG)


def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native", "original"), "AutoencoderKLCogVideoX")
    check_equal(load(tmp_path / "original.safetensors"), opened, 32, 40)
    assert load(folder).normalization == LatentNormalization((0.0,), (theirs.config.scaling_factor,))


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, encoder_blocks=3)])
def test_the_config_is_read_off_the_shapes(config: CogVideoXConfig) -> None:
    assert detect_cogvideox(native_shapes(config)) == config


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_either_half_is_mirrored(half: str) -> None:
    assert detect_cogvideox(half_of(SHAPES, half)) == CONFIG


def test_near_misses_are_none() -> None:
    assert detect_cogvideox({}) is None
    assert detect_cogvideox({key: shape for key, shape in SHAPES.items() if "norm1" not in key}) is None
    assert detect_cogvideox(native_shapes(HunyuanVideoConfig(3, 4, (32, 64), (64, 32), 1, 2, False))) is None


KEYS = (
    "encoder.levels.1.block.0.nin_shortcut.weight",
    "encoder.levels.0.resample.conv.bias",
    "decoder.levels.0.block.1.norm2.conv_b.weight",
    "decoder.norm_out.norm_layer.bias",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "original",
            (
                "encoder.down.1.block.0.nin_shortcut.weight",
                "encoder.down.0.downsample.conv.bias",
                "decoder.up.2.block.1.norm2.conv_b.conv.weight",
                "decoder.norm_out.norm_layer.bias",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
                "encoder.down_blocks.0.downsamplers.0.conv.bias",
                "decoder.up_blocks.0.resnets.1.norm2.conv_b.conv.weight",
                "decoder.norm_out.norm_layer.bias",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "cogvideox")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_norms_differ_between_the_halves() -> None:
    assert norm_names("norm1", "encoder") == {"norm1.{p}": "norm1.{p}"}
    assert norm_names("norm1", "decoder")["norm1.conv_y.{p}"] == "norm1.conv_y.conv.{p}"


@pytest.mark.parametrize("config", [replace(CONFIG, decoder_widths=(96, 32, 32)), replace(CONFIG, decoder_blocks=3)])
def test_what_diffusers_cannot_express_is_refused(config: CogVideoXConfig) -> None:
    with refuses(WrongTensors, "AutoencoderKLCogVideoX"):
        settings(config, None)


def test_another_number_of_norm_groups_is_refused(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, _ = pair
    theirs.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(text.replace('"norm_num_groups": 32', '"norm_num_groups": 8'), "utf-8")
    with refuses(UnknownVAE, "8 norm groups"):
        identify(tmp_path)
