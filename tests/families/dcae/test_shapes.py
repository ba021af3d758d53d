"""The config of a deep compression autoencoder, read off native keys and shapes."""

from dataclasses import replace
from typing import Any

import pytest
from shapes_of_configs import native_shapes

from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.dcae.shapes import can_be_built, detect_dcae, in_decoder, in_encoder, read_half

CONV = DCAEConfig(
    *(3, 4, (16, 16, 32), (16, 16, 32), (1, 2, 1), (1, 2, 1), (2,), (2,), ((), (), (5,)), ((), (), (5,)), (1,)),
    *("conv", "interpolate", 16, (1,), "relu", True, True),
)
EMPTY_FIRST = replace(CONV, encoder_blocks=(0, 4, 1), decoder_blocks=(0, 5, 1))
PIXELS = replace(EMPTY_FIRST, downsample="pixel_unshuffle", upsample="pixel_shuffle")
FIXED: dict[str, Any] = {"decoder_batch_norm": (), "decoder_relu": ()}
BARE = replace(
    PIXELS,
    **FIXED,
    encoder_attention=(),
    decoder_attention=(),
    encoder_scales=((), (), ()),
    decoder_scales=((), (), ()),
    head_width=32,
    decoder_out_activation="silu",
    encoder_out_shortcut=False,
    decoder_in_shortcut=False,
)
CONFIGS = {"conv": CONV, "an empty first stage": EMPTY_FIRST, "pixels": PIXELS, "residual blocks alone": BARE}


def half(config: DCAEConfig, name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in native_shapes(config).items() if key.startswith(name)}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_is_read_off_the_shapes(name: str) -> None:
    assert detect_dcae(native_shapes(CONFIGS[name])) == CONFIGS[name]


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_missing_half_has_the_blocks_of_the_published_models(name: str) -> None:
    """4 residual blocks in the encoder are 5 in the decoder, above stages with attention; only the
    decoder has batch norm."""
    expected = replace(PIXELS, **FIXED) if name == "encoder" else PIXELS
    assert detect_dcae(half(PIXELS, name)) == expected
    assert detect_dcae(half(BARE, name)) == replace(BARE, **{f"{other(name)}_blocks": getattr(BARE, f"{name}_blocks")})


def other(name: str) -> str:
    return "decoder" if name == "encoder" else "encoder"


def test_blocks_of_the_other_half() -> None:
    assert [in_decoder(count) for count in (2, 4, 8)] == [3, 5, 10]
    assert [in_encoder(count) for count in (1, 5, 10)] == [1, 4, 8]


def test_a_half_is_read_stage_by_stage() -> None:
    found = read_half(native_shapes(CONV), "encoder")
    assert found is not None
    assert (found.widths, found.blocks, found.attention) == ((16, 16, 32), (1, 2, 1), (2,))
    assert (found.scales, found.heads, found.batch_norm) == (((), (), (5,)), (16,), ())
    assert [sorted(position) for position in found.between] == [["conv.bias", "conv.weight"]] * 2
    decoder = read_half(native_shapes(CONV), "decoder")
    assert decoder is not None and decoder.batch_norm == (1,)
    assert read_half({}, "encoder") is None


def test_an_empty_first_stage_has_the_width_of_the_second() -> None:
    shapes = {key: shape for key, shape in native_shapes(EMPTY_FIRST).items() if ".stages.0." not in key}
    found = read_half(shapes, "encoder")
    assert found is not None and found.widths == (16, 16, 32) and found.blocks == (0, 4, 1)


@pytest.mark.parametrize(
    "lost",
    ["encoder.stages.1. decoder.stages.1.", "encoder.conv_in. decoder.conv_out.", "decoder.conv_in. encoder.conv_out."],
)
def test_gaps_are_none(lost: str) -> None:
    rest = {key: shape for key, shape in native_shapes(CONV).items() if not key.startswith(tuple(lost.split()))}
    assert detect_dcae(rest) is None


def test_halves_of_different_depth_are_none() -> None:
    shapes = {key: shape for key, shape in native_shapes(CONV).items() if not key.startswith("decoder.stages.2")}
    assert detect_dcae(shapes) is None


@pytest.mark.parametrize(
    "config",
    [
        replace(CONV, encoder_widths=(16, 16, 48)),
        replace(CONV, decoder_widths=(16, 24, 36)),
        replace(PIXELS, encoder_widths=(6, 6, 24)),
        replace(CONV, encoder_scales=((), (), (4,))),
    ],
)
def test_channels_that_cannot_be_moved_and_windows_without_a_middle(config: DCAEConfig) -> None:
    assert can_be_built(CONV) and can_be_built(PIXELS)
    assert not can_be_built(config)
