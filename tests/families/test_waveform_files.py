"""What the detectors of autoencoders of waveforms read off shapes."""

import pytest
from refusals import refuses

from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families.waveform import WaveformConfig
from vaekit.families.waveform_files import (
    agreed,
    conv,
    decoder_sequence,
    doubling_obstacles,
    encoder_sequence,
    half_fields,
    kernel,
    refuse_normalization,
    waveform_fields,
    width,
    with_sample_rate,
)
from vaekit.normalization import LatentNormalization

CONFIG = WaveformConfig(1, 4, (4, 8), (8, 4), (5,), True, 0)
ENCODER = {
    "encoder.conv1.weight_v": (4, 1, 7),
    "encoder.block.0.res_unit1.conv1.weight_v": (4, 4, 7),
    "encoder.block.0.conv1.weight_v": (8, 4, 10),
}
DECODER = {
    "decoder.conv1.weight": (8, 4, 7),
    "decoder.block.0.conv_t1.weight": (8, 4, 10),
    "decoder.conv2.weight": (1, 4, 7),
}


def test_halves_are_read_with_and_without_norms() -> None:
    assert half_fields(ENCODER, "encoder", "conv1") == ((4, 8), (5,))
    assert half_fields(DECODER, "decoder", "conv_t1") == ((8, 4), (5,))
    expected = {"audio_channels": 1, "encoder_widths": (4, 8), "decoder_widths": (8, 4), "strides": (5,)}
    assert waveform_fields(ENCODER) == expected | {"weight_norm": True}
    assert waveform_fields(DECODER) == expected | {"weight_norm": False}
    assert waveform_fields(ENCODER | DECODER) == expected | {"weight_norm": True}
    assert waveform_fields({}) is None


def test_what_is_missing_is_read_from_other_tensors() -> None:
    damaged = {key: shape for key, shape in ENCODER.items() if key != "encoder.block.0.conv1.weight_v"}
    assert width(damaged | {"encoder.block.0.conv1.bias": (8,)}, "encoder.block.0.conv1") == 8
    assert width({"x.weight_g": (8, 1, 1)}, "x", transposed=True) == 0
    whole = damaged | {"encoder.block.0.conv1.bias": (8,)} | DECODER
    assert waveform_fields(whole) == waveform_fields(ENCODER | DECODER)
    assert kernel({"x.weight": (3, 3)}, "x") is None


@pytest.mark.parametrize(
    ("strides", "others", "expected"),
    [((2, 4), (2, 4), (2, 4)), ((2, 0), (0, 4), (2, 4)), ((2, 4), (2, 5), ()), ((2,), (2, 4), ()), ((0,), (0,), ())],
)
def test_halves_agree_on_strides(strides: tuple[int, ...], others: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert agreed(strides, others) == expected


def test_sample_rates() -> None:
    assert with_sample_rate(CONFIG, {}, {}).sample_rate == 0
    assert with_sample_rate(CONFIG, {"sample_rate": 8_000}, {"sampling_rate": 16_000}).sample_rate == 8_000
    assert with_sample_rate(CONFIG, {}, {"sample_rate": 16_000}).sample_rate == 16_000
    with refuses(UnknownVAE, "-8000"):
        with_sample_rate(CONFIG, {}, {"sample_rate": -8_000})


def test_rules_of_sequences() -> None:
    assert conv("a", "b", {"weight_g": "g"}) == (("a.{p}", "b.{p}"), ("a.weight_g", "b.g"))
    encoder, decoder = encoder_sequence("x", "y", {}), decoder_sequence("x", "y", {})
    assert dict(encoder)["encoder.block.{i}.res_unit3.conv2.{p}"] == "x.{+i}.y.2.y.3.{p}"
    assert dict(decoder)["decoder.block.{i}.res_unit3.conv2.{p}"] == "x.{+i}.y.4.y.3.{p}"


def test_refusals() -> None:
    refuse_normalization("SomeClass", None)
    refuse_normalization("SomeClass", LatentNormalization())
    with refuses(WrongTensors, "SomeClass"):
        refuse_normalization("SomeClass", LatentNormalization((0.0,), (2.0,)))
    assert not any(doubling_obstacles(CONFIG).values())
    assert any(doubling_obstacles(WaveformConfig(1, 4, (4, 6), (6, 4), (5,), True, 0)).values())
