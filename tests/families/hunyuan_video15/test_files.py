"""Files of HunyuanVideo 1.5 and the refiner: names, detection, and the settings of diffusers."""

from dataclasses import replace
from pathlib import Path

import pytest
from one_frame import check_equal, check_layouts, half_of
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load
from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.hunyuan_video15.files import can_be_built, detect_hunyuan_video15, settings, time_levels
from vaekit.families.hunyuan_video15.net import HunyuanVideo15Config
from vaekit.normalization import LatentNormalization

CONFIG = HunyuanVideo15Config(3, 4, (8, 16, 32), (32, 16, 8), 1, 2, (1,), (0,))
SHAPES = native_shapes(CONFIG)


def test_all_layouts_keep_every_bit_and_either_class_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native", "original"), type(theirs).__name__)
    ours = load(tmp_path / "original.safetensors")
    assert ours.normalization is None or ours.normalization.scale == (theirs.config.scaling_factor,)
    check_equal(ours, opened, 32, 40)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, encoder_time_levels=(0, 1), decoder_time_levels=(0, 1)),
        replace(CONFIG, encoder_time_levels=(), decoder_time_levels=(), encoder_blocks=3),
    ],
)
def test_the_config_is_read_off_the_shapes(config: HunyuanVideo15Config) -> None:
    assert detect_hunyuan_video15(native_shapes(config)) == config


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_either_half_is_mirrored(half: str) -> None:
    assert detect_hunyuan_video15(half_of(SHAPES, half)) == CONFIG


def test_near_misses_are_none() -> None:
    assert detect_hunyuan_video15({}) is None
    assert detect_hunyuan_video15({key: shape for key, shape in SHAPES.items() if "norm1" not in key}) is None
    assert detect_hunyuan_video15({key: shape for key, shape in SHAPES.items() if "resample" not in key}) is None
    odd = {"encoder.levels.0.resample.conv.weight": (3, 8, 3, 3, 3)}
    assert time_levels(SHAPES | odd, "encoder", CONFIG.encoder_widths) is None
    assert not can_be_built(replace(CONFIG, latent_channels=5))


KEYS = (
    "encoder.levels.1.block.0.norm1.gamma",
    "encoder.levels.0.resample.conv.bias",
    "decoder.levels.0.block.1.conv2.weight",
    "decoder.mid.attn_1.q.weight",
    "decoder.conv_out.bias",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "original",
            (
                "encoder.down.1.block.0.norm1.gamma",
                "encoder.down.0.downsample.conv.conv.bias",
                "decoder.up.0.block.1.conv2.conv.weight",
                "decoder.mid.attn_1.q.weight",
                "decoder.conv_out.conv.bias",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.1.resnets.0.norm1.gamma",
                "encoder.down_blocks.0.downsamplers.0.conv.conv.bias",
                "decoder.up_blocks.0.resnets.1.conv2.conv.weight",
                "decoder.mid_block.attentions.0.to_q.weight",
                "decoder.conv_out.conv.bias",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "hunyuan-video-1.5")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(32, 32, 8)), None),
        (replace(CONFIG, decoder_blocks=3), None),
        (replace(CONFIG, encoder_time_levels=(0,)), None),
        (CONFIG, LatentNormalization((0.5,), (1.0,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: HunyuanVideo15Config, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "AutoencoderKLHunyuanVideo15"):
        settings(config, normalization)
