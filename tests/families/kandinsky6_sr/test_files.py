"""Files of Kandinsky 6's upscaler: names, detection, and the settings of diffusers."""

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
from vaekit.families.kandinsky6_sr.files import detect_kandinsky6_sr, norm_names, settings, time_levels
from vaekit.families.kandinsky6_sr.net import Kandinsky6SRConfig
from vaekit.normalization import LatentNormalization

CONFIG = Kandinsky6SRConfig(3, 4, (8, 12, 16, 24), (32, 24, 16, 8), 1, 2, (1, 2), (1, 2))
SHAPES = native_shapes(CONFIG)


def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    opened = check_layouts(folder, tmp_path, ("native",), "Kandinsky6SRVAE")
    check_equal(load(tmp_path / "native.safetensors"), opened, 32, 40)
    assert load(folder).normalization == LatentNormalization((0.0,), (theirs.config.scaling_factor,))


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, encoder_time_levels=(), decoder_time_levels=(0,))])
def test_the_config_is_read_off_the_shapes(config: Kandinsky6SRConfig) -> None:
    assert detect_kandinsky6_sr(native_shapes(config)) == config


def test_a_half_is_mirrored_with_its_own_widths() -> None:
    mirrored = replace(CONFIG, decoder_widths=CONFIG.encoder_widths[::-1])
    assert detect_kandinsky6_sr(half_of(SHAPES, "encoder")) == mirrored
    mirrored = replace(CONFIG, encoder_widths=CONFIG.decoder_widths[::-1])
    assert detect_kandinsky6_sr(half_of(SHAPES, "decoder")) == mirrored


def test_near_misses_are_none() -> None:
    assert detect_kandinsky6_sr({}) is None
    assert detect_kandinsky6_sr({key: shape for key, shape in SHAPES.items() if "spatial_conv" not in key}) is None
    assert time_levels(SHAPES, "encoder", 4) == (1, 2)


KEYS = (
    "encoder.levels.1.block.0.nin_shortcut.weight",
    "encoder.levels.1.resample.temporal_conv.1.bias",
    "decoder.levels.1.block.1.norm2.conv_b.weight",
    "decoder.levels.1.resample.temporal_conv.weight",
    "decoder.norm_out.norm_layer.gamma",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "diffusers",
            (
                "encoder.down.1.block.0.nin_shortcut.weight",
                "encoder.down.1.downsample.temporal_conv.1.conv.bias",
                "decoder.up.2.block.1.norm2.conv_b.weight",
                "decoder.up.2.upsample.temporal_conv.conv.weight",
                "decoder.norm_out.norm_layer.gamma",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "kandinsky6-sr")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_norms_differ_between_the_halves() -> None:
    assert norm_names("norm1", "encoder") == {"norm1.gamma": "norm1.gamma"}
    assert "norm1.conv_y.{p}" in norm_names("norm1", "decoder")


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_blocks=3), None),
        (replace(CONFIG, encoder_time_levels=(0, 2), decoder_time_levels=(0, 2)), None),
        (replace(CONFIG, decoder_time_levels=(0, 1)), None),
        (CONFIG, LatentNormalization((0.5,), (1.0,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: Kandinsky6SRConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "Kandinsky6SRVAE"):
        settings(config, normalization)
