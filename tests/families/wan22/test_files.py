"""Files of Wan 2.2 and Qwen-Image 2.1: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.files import can_be_built, detect_wan22, settings
from vaekit.families.wan22.net import Wan22Config

CONFIG = Wan22Config(3, 4, (8, 16, 16), (48, 48, 24), 1, 2, (1,), True, patch=2)
ALPHA = replace(CONFIG, image_channels=4, patch=1, temporal=False)
SHAPES = native_shapes(CONFIG)


@pytest.mark.parametrize("config", [CONFIG, ALPHA], ids=["squares of pixels", "alpha"])
def test_the_config_is_read_off_the_shapes(config: Wan22Config) -> None:
    assert detect_wan22(native_shapes(config)) == config


def test_a_half_is_mirrored_with_its_own_widths() -> None:
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    assert detect_wan22(decoder) == replace(CONFIG, encoder_widths=(24, 48, 48))


def test_wan_2_1_is_none() -> None:
    assert detect_wan22(native_shapes(WanConfig(3, 4, (8, 16, 24), (24, 16, 8), 1, 2, (1,), True))) is None
    assert detect_wan22({}) is None


@pytest.mark.parametrize(
    "config", [replace(CONFIG, encoder_widths=(8, 24, 80)), replace(CONFIG, decoder_widths=(56, 6, 24))]
)
def test_channels_that_cannot_be_averaged_or_repeated(config: Wan22Config) -> None:
    assert can_be_built(CONFIG)
    assert not can_be_built(config)
    assert detect_wan22(native_shapes_of_levels(config)) is None


def native_shapes_of_levels(config: Wan22Config) -> dict[str, tuple[int, ...]]:
    """The shapes of a network that cannot be built: the widths of its blocks replaced."""
    shapes = dict(SHAPES)
    for half, widths in (("encoder", config.encoder_widths), ("decoder", config.decoder_widths)):
        for i, width in enumerate(widths):
            shapes[f"{half}.levels.{i}.main.block.0.conv1.weight"] = (width, width, 3, 3, 3)
    return shapes


KEYS = (
    "encoder.levels.1.main.block.0.conv1.weight",
    "encoder.levels.1.main.resample.time_conv.bias",
    "decoder.levels.2.main.block.1.norm2.gamma",
    "encoder.quant_conv.weight",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "original",
            (
                "encoder.downsamples.1.downsamples.0.residual.2.weight",
                "encoder.downsamples.1.downsamples.1.time_conv.bias",
                "decoder.upsamples.2.upsamples.1.residual.3.gamma",
                "conv1.weight",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.1.resnets.0.conv1.weight",
                "encoder.down_blocks.1.downsampler.time_conv.bias",
                "decoder.up_blocks.2.resnets.1.norm2.gamma",
                "quant_conv.weight",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "wan2.2")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_settings_of_diffusers() -> None:
    config = replace(CONFIG, decoder_widths=(48, 48, 24))
    result = settings(config, None)
    assert (result["is_residual"], result["patch_size"], result["in_channels"], result["out_channels"]) == (
        True,
        2,
        12,
        12,
    )
    assert (result["base_dim"], result["decoder_base_dim"], result["dim_mult"]) == (8, 24, [1, 2, 2])
    assert result["scale_factor_spatial"] == 8
    assert settings(replace(config, image_channels=4, patch=1), None)["patch_size"] is None


def test_settings_of_the_class_for_images() -> None:
    result = settings(ALPHA, None)
    assert result["_class_name"] == "AutoencoderKLQwenImage21"
    assert (result["in_channels"], result["out_channels"], result["patch_size"]) == (4, 4, None)
    with refuses(WrongTensors, "AutoencoderKLQwenImage21"):
        settings(replace(ALPHA, patch=2), None)
