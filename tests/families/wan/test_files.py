"""Files of Wan 2.1 autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.wan.files import (
    detect_wan,
    multiples_of,
    reaches_over_time,
    settings,
    time_levels,
    upscaling,
)
from vaekit.families.wan.net import WanConfig
from vaekit.normalization import LatentNormalization

CONFIG = WanConfig(3, 4, (8, 16, 24), (24, 16, 8), 1, 2, (1,), True)
SHAPES = native_shapes(CONFIG)
NORMALIZATION = LatentNormalization((0.5, 0.0, -1.0, 0.25), (0.5, 1.0, 2.0, 0.25))


def half(config: WanConfig, name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in native_shapes(config).items() if key.startswith(name)}


@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, time_levels=(0, 1)), WanConfig(3, 4, (8, 16, 24), (48, 32, 16), 2, 3, (), False)],
    ids=["one level in time", "two", "a single frame"],
)
def test_the_config_is_read_off_the_shapes(config: WanConfig) -> None:
    assert detect_wan(native_shapes(config)) == config


@pytest.mark.parametrize("name", ["encoder", "decoder"])
@pytest.mark.parametrize("times", [(0,), (1,), (0, 1)])
def test_either_half_is_mirrored(name: str, times: tuple[int, ...]) -> None:
    """A level in time of the decoder is one of the encoder, counted from the other end."""
    config = replace(CONFIG, time_levels=times)
    assert detect_wan(half(config, name)) == config


def test_without_norms_of_this_kind_or_levels_it_is_none() -> None:
    assert detect_wan({key.replace("gamma", "weight"): shape for key, shape in SHAPES.items()}) is None
    assert detect_wan({key: shape for key, shape in SHAPES.items() if ".levels." not in key}) is None
    ends = ("encoder.conv_in", "decoder.conv_out")
    assert detect_wan({key: shape for key, shape in SHAPES.items() if not key.startswith(ends)}) is None


def test_kernels_over_time_have_more_than_one_slice() -> None:
    assert reaches_over_time({"encoder.conv_in.weight": (8, 3, 3, 3, 3)})
    assert not reaches_over_time({"encoder.conv_in.weight": (8, 3, 1, 3, 3)})
    assert not reaches_over_time({"encoder.conv_in.weight": (8, 3, 3, 3)})
    assert not reaches_over_time({})
    assert time_levels({"x.0.resample.time_conv.bias": (8,), "x.2.resample.conv.bias": (8,)}, "x", 3) == (0,)


KEYS = (
    "encoder.levels.1.block.0.conv1.weight",
    "encoder.levels.1.resample.time_conv.bias",
    "decoder.levels.2.block.1.norm2.gamma",
    "decoder.post_quant_conv.weight",
)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", KEYS),
        (
            "original",
            (
                "encoder.downsamples.2.residual.2.weight",
                "encoder.downsamples.3.time_conv.bias",
                "decoder.upsamples.7.residual.3.gamma",
                "conv2.weight",
            ),
        ),
        (
            "diffusers",
            (
                "encoder.down_blocks.2.conv1.weight",
                "encoder.down_blocks.3.time_conv.bias",
                "decoder.up_blocks.2.resnets.1.norm2.gamma",
                "post_quant_conv.weight",
            ),
        ),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "wan")
    assert layout is not None
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_settings_of_diffusers() -> None:
    result = settings(CONFIG, NORMALIZATION)
    assert result["_class_name"] == "AutoencoderKLWan"
    assert (result["base_dim"], result["decoder_base_dim"], result["dim_mult"]) == (8, None, [1, 2, 3])
    assert (result["temperal_downsample"], result["scale_factor_temporal"]) == ([False, True], 2)
    assert (result["scale_factor_spatial"], result["z_dim"], result["in_channels"], result["out_channels"]) == (
        4,
        4,
        3,
        3,
    )
    assert result["latents_mean"] == [0.5, 0.0, -1.0, 0.25]
    assert result["latents_std"] == [2.0, 1.0, 0.5, 4.0]
    wider = settings(replace(CONFIG, decoder_widths=(48, 32, 16)), None)
    assert wider["decoder_base_dim"] == 16
    assert (wider["latents_mean"], wider["latents_std"]) == (None, None)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, temporal=False),
        replace(CONFIG, encoder_widths=(8, 12, 24)),
        replace(CONFIG, decoder_widths=(32, 16, 8)),
        replace(CONFIG, decoder_blocks=3),
    ],
)
def test_networks_that_diffusers_cannot_build_are_refused(config: WanConfig) -> None:
    with refuses(WrongTensors, "AutoencoderKLWan", '"original" or "native"'):
        settings(config, None)


def test_widths_as_multiples_of_the_first() -> None:
    assert multiples_of((8, 16, 8)) == [1, 2, 1]
    assert multiples_of((8, 12)) == []


@pytest.mark.parametrize(
    ("outputs", "channels", "expected"),
    [
        *[(3, 3, (3, 1)), (12, 3, (3, 2)), (27, 3, (3, 3)), (4, 1, (1, 2)), (16, 4, (4, 2)), (12, 12, (12, 1))],
        *[(12, None, (3, 2)), (16, None, (4, 2)), (3, None, (None, 1)), (4, None, (None, 1)), (0, 3, (3, 1))],
        *[(6, 3, (3, 1)), (10, None, (None, 1))],
    ],
)
def test_output_channels_are_squares_of_pixels(outputs: int, channels: int | None, expected: tuple[int, int]) -> None:
    assert upscaling(outputs, channels) == expected


def test_a_decoder_that_upscales_is_detected_alone_and_with_its_encoder() -> None:
    config = replace(CONFIG, upscale=2)
    assert detect_wan(native_shapes(config)) == detect_wan(half(config, "decoder")) == config
    assert settings(config, NORMALIZATION)["out_channels"] == 12
