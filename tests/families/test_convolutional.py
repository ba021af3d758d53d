"""What the KL, asymmetric and vector-quantized families share: layouts, detection and settings."""

from dataclasses import replace
from typing import Any

import pytest
from refusals import refuses
from shapes_of_configs import native_shapes

from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families.convolutional import (
    ATTENTION,
    OLD_ATTENTION,
    assumed_groups,
    attention_levels,
    block_types,
    convolutional,
    diffusers_kl,
    ldm,
    level_widths,
    nets_settings,
    refuse_reflection,
    with_stated_fields,
)
from vaekit.families.kl.net import KLConfig

CONFIG = KLConfig(3, 4, 6, (32, 64), (96, 128), 1, 3, (1,), (0, 1), True, True, True, 32)
SHAPES = native_shapes(CONFIG)


def half(name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in SHAPES.items() if key.startswith(name)}


def fields_of(config: KLConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if name != "padding"}


def test_both_halves_are_read_each_on_its_own() -> None:
    assert convolutional(SHAPES, moments=2) == fields_of(CONFIG)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder", replace(CONFIG, decoder_widths=(32, 64), decoder_blocks=2, decoder_attention=(1,))),
        ("decoder", replace(CONFIG, encoder_widths=(96, 128), encoder_blocks=2, encoder_attention=(0, 1))),
    ],
)
def test_a_missing_half_mirrors_the_other(name: str, expected: KLConfig) -> None:
    assert convolutional(half(name), moments=2) == fields_of(expected)


def test_an_encoder_alone_tells_its_channels_by_its_moments() -> None:
    found = convolutional(half("encoder"), moments=1)
    assert found is not None
    assert (found["hidden_channels"], found["latent_channels"]) == (12, 8)


def test_without_quant_convolutions_the_latent_is_what_the_nets_say() -> None:
    config = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (), (), False, False, False, 32)
    found = convolutional(native_shapes(config), moments=2)
    assert found == fields_of(config)


@pytest.mark.parametrize("lost", ["encoder.conv_in.weight decoder.conv_out.weight", "encoder.down decoder.up"])
def test_nets_that_cannot_be_read_are_none(lost: str) -> None:
    rest = {key: shape for key, shape in SHAPES.items() if not key.startswith(tuple(lost.split()))}
    assert convolutional(rest, moments=2) is None


def test_a_width_is_read_from_what_a_block_still_has() -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "down.0.block.0.conv1.weight": (8, 8, 3, 3),
        "down.1.block.0.conv2.weight": (16, 16, 3, 3),
        "down.2.block.0.norm2.weight": (24,),
    }
    assert level_widths(shapes, "down") == (8, 16, 24)
    assert level_widths(shapes | {"down.3.block.1.conv1.weight": (32, 32, 3, 3)}, "down") == ()
    assert level_widths(shapes, "up") == ()


def test_levels_with_attention_are_counted() -> None:
    assert attention_levels(SHAPES, "decoder.up") == (0, 1)
    assert attention_levels(SHAPES, "encoder.down") == (1,)


def test_names_of_diffusers_and_of_ldm() -> None:
    new, old = dict(diffusers_kl(ATTENTION)), dict(diffusers_kl(OLD_ATTENTION))
    assert new["encoder.mid.attn_1.q.{p}"] == "encoder.mid_block.attentions.0.to_q.{p}"
    assert old["encoder.mid.attn_1.q.{p}"] == "encoder.mid_block.attentions.0.query.{p}"
    assert new["decoder.up.{i}.block.{j}.nin_shortcut.{p}"] == "decoder.up_blocks.{~i}.resnets.{j}.conv_shortcut.{p}"
    assert {native: foreign for native, foreign in ldm(tuple(new.items())) if native != foreign} == {
        "encoder.quant_conv.{p}": "quant_conv.{p}",
        "decoder.post_quant_conv.{p}": "post_quant_conv.{p}",
    }


@pytest.mark.parametrize(
    ("metadata", "settings", "groups", "padding"),
    [
        ({}, {}, 32, "zeros"),
        ({}, {"norm_num_groups": 8, "padding_mode": "reflect"}, 8, "reflect"),
        ({"norm_groups": 16, "padding": "zeros"}, {"norm_num_groups": 8, "padding_mode": "reflect"}, 16, "zeros"),
        ({"norm_groups": True}, {"norm_num_groups": -4}, 32, "zeros"),
        ({"norm_groups": "8"}, {"norm_num_groups": 4.0}, 32, "zeros"),
    ],
)
def test_files_tell_norm_groups_and_padding(
    metadata: dict[str, Any], settings: dict[str, Any], groups: int, padding: str
) -> None:
    expected = replace(CONFIG, norm_groups=groups, padding=padding)
    assert with_stated_fields(CONFIG, metadata, settings) == expected


def test_groups_that_do_not_divide_the_widths_are_refused() -> None:
    with refuses(UnknownVAE, "32, 64, 96, 128", "48", "norm_num_groups"):
        with_stated_fields(CONFIG, {"norm_groups": 48}, {})


def test_small_networks_are_told_what_was_assumed() -> None:
    assert assumed_groups(replace(CONFIG, encoder_widths=(128, 256))) == []
    assert assumed_groups(replace(CONFIG, norm_groups=8)) == []
    (sentence,) = assumed_groups(CONFIG)
    assert "32" in sentence


def test_diffusers_cannot_pad_by_reflection() -> None:
    refuse_reflection("AutoencoderKL", CONFIG)
    with refuses(WrongTensors, "AutoencoderKL", "--padding zeros", 'padding_mode = "reflect"'):
        refuse_reflection("AutoencoderKL", replace(CONFIG, padding="reflect"))


def test_levels_of_the_decoder_are_listed_from_the_latent_upwards() -> None:
    types = block_types(replace(CONFIG, decoder_attention=(0,)))
    assert types == {
        "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"],
    }


SAME = replace(CONFIG, decoder_widths=(32, 64), decoder_blocks=2)


def test_settings_of_the_nets() -> None:
    result = nets_settings(SAME, "SomeClass", {"a thing": False})
    assert result.pop("up_block_types") == ["AttnUpDecoderBlock2D"] * 2
    assert result.pop("down_block_types") == ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
    assert result == {
        "_class_name": "SomeClass",
        "act_fn": "silu",
        "block_out_channels": [32, 64],
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 1,
        "mid_block_add_attention": True,
        "norm_num_groups": 32,
        "sample_size": 512,
    }


@pytest.mark.parametrize(
    ("config", "obstacle"),
    [
        (SAME, "a thing"),
        (replace(SAME, decoder_widths=(64, 64)), "widths"),
        (replace(SAME, decoder_blocks=3), "blocks"),
    ],
)
def test_nets_that_diffusers_cannot_build_are_refused(config: KLConfig, obstacle: str) -> None:
    with refuses(WrongTensors, "SomeClass", obstacle, '"ldm" or "native"'):
        nets_settings(config, "SomeClass", {"a thing": config is SAME})
