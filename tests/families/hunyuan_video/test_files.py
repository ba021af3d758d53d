"""Files of HunyuanVideo 1.0: names, detection, and the settings of diffusers."""

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
from vaekit.families.hunyuan_video.files import detect_hunyuan_video, settings
from vaekit.families.hunyuan_video.net import HunyuanVideoConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG = HunyuanVideoConfig(3, 4, (32, 64, 96), (96, 64, 32), 1, 2, True)
SHAPES = native_shapes(CONFIG)


def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native", "ldm"), "AutoencoderKLHunyuanVideo")
    ours = load(tmp_path / "ldm.safetensors")
    assert ours.config.mid_attention == theirs.config.mid_block_add_attention
    check_equal(ours, opened, 32, 40)


def test_the_normalization_is_the_scaling_factor(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    assert load(folder).normalization == LatentNormalization((0.0,), (theirs.config.scaling_factor,))


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, mid_attention=False, encoder_blocks=3)])
def test_the_config_is_read_off_the_shapes(config: HunyuanVideoConfig) -> None:
    assert detect_hunyuan_video(native_shapes(config)) == config


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_either_half_is_mirrored(half: str) -> None:
    assert detect_hunyuan_video(half_of(SHAPES, half)) == CONFIG


def test_near_misses_are_none() -> None:
    assert detect_hunyuan_video({}) is None
    assert detect_hunyuan_video({key: shape for key, shape in SHAPES.items() if "quant_conv" not in key}) is None
    assert detect_hunyuan_video({key: shape for key, shape in SHAPES.items() if "norm1" not in key}) is None
    assert detect_hunyuan_video({key: shape for key, shape in SHAPES.items() if "resample" not in key}) is None


KEYS = (
    "encoder.levels.1.block.0.nin_shortcut.weight",
    "encoder.levels.0.resample.conv.bias",
    "decoder.levels.0.block.1.norm2.weight",
    "decoder.mid.attn_1.proj_out.weight",
    "decoder.norm_out.bias",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "ldm",
            (
                "encoder.down.1.block.0.nin_shortcut.conv.weight",
                "encoder.down.0.downsample.conv.conv.bias",
                "decoder.up.2.block.1.norm2.weight",
                "decoder.mid.attn_1.proj_out.weight",
                "decoder.norm_out.bias",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.1.resnets.0.conv_shortcut.conv.weight",
                "encoder.down_blocks.0.downsamplers.0.conv.conv.bias",
                "decoder.up_blocks.0.resnets.1.norm2.weight",
                "decoder.mid_block.attentions.0.to_out.0.weight",
                "decoder.conv_norm_out.bias",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "hunyuan-video")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(96, 32, 32)), None),
        (replace(CONFIG, decoder_blocks=3), None),
        (CONFIG, LatentNormalization((0.5,), (1.0,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: HunyuanVideoConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "AutoencoderKLHunyuanVideo"):
        settings(config, normalization)


def test_another_number_of_norm_groups_is_refused(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    """Weights do not depend on it, and images would be wrong."""
    theirs, _ = pair
    theirs.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(text.replace('"norm_num_groups": 32', '"norm_num_groups": 16'), "utf-8")
    with refuses(UnknownVAE, "16 norm groups"):
        identify(tmp_path)
