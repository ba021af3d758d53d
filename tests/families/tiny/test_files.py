"""Files of tiny autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.tiny.files import FAMILY, Chain, detect_tiny, sequence, settings
from vaekit.families.tiny.net import TinyConfig

CONFIG = TinyConfig(3, 4, (), (8, 8), (8, 8), (1, 2), (2, 1), False)
STEM = TinyConfig(3, 4, (4, 8), (8, 8), (16, 8, 8, 4), (1, 2), (2, 1, 1, 1), False)
SHAPES = native_shapes(CONFIG)


def half(config: TinyConfig, name: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in native_shapes(config).items() if key.startswith(name)}


@pytest.mark.parametrize("config", [CONFIG, STEM, replace(CONFIG, pool=True)], ids=["plain", "stem", "pool"])
def test_the_config_is_read_off_the_shapes(config: TinyConfig) -> None:
    assert detect_tiny(native_shapes(config)) == config


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_either_half_is_mirrored(name: str) -> None:
    assert detect_tiny(half(CONFIG, name)) == CONFIG


def test_a_chain_is_read_off_its_positions() -> None:
    assert sequence(half(CONFIG, "encoder"), "encoder") == Chain(3, 4, (), (8, 8), (1, 2))
    assert sequence(half(CONFIG, "decoder"), "decoder") == Chain(4, 3, (), (8, 8), (2, 1))
    assert sequence(half(STEM, "encoder"), "encoder") == Chain(3, 4, (4, 8), (8, 8), (1, 2))
    assert sequence(SHAPES, "nothing") is None


def test_a_stem_is_mirrored_as_runs_of_one_block() -> None:
    assert Chain(3, 4, (4, 8), (16, 32), (1, 2)).mirrored() == Chain(4, 3, (), (32, 16, 8, 4), (2, 1, 1, 1))


@pytest.mark.parametrize("lost", [r"encoder.0.", "encoder.1.", "encoder.2."])
def test_an_encoder_with_a_gap_is_none(lost: str) -> None:
    """Without its first convolution, its only block before a stride, or that stride."""
    assert (
        detect_tiny({key: shape for key, shape in half(CONFIG, "encoder").items() if not key.startswith(lost)}) is None
    )


def test_a_block_behind_the_last_convolution_is_none() -> None:
    assert detect_tiny(half(CONFIG, "encoder") | {"encoder.99.conv.0.weight": (8, 8, 3, 3)}) is None


ENCODER, DECODER = "encoder.1.conv.0.weight", "decoder.1.bias"


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("native", (ENCODER, DECODER)),
        ("diffusers", ("encoder.layers.1.conv.0.weight", "decoder.layers.0.bias")),
        ("comfy", ("taesd_encoder.1.conv.0.weight", "taesd_decoder.1.bias")),
        ("tiny-encoder", ("1.conv.0.weight",)),
        ("tiny-decoder", ("1.bias",)),
    ],
)
def test_names(name: str, foreign: tuple[str, ...]) -> None:
    layout = layout_of(name, "tiny")
    assert layout is not None
    native = [key for key in (ENCODER, DECODER) if key.startswith(layout.half)]
    assert_names(layout, replace(CONFIG, pool=True), dict(zip(native, foreign, strict=True)))


def test_the_halves_are_told_apart_by_their_first_position() -> None:
    encoder, decoder = layout_of("tiny-encoder", "tiny"), layout_of("tiny-decoder", "tiny")
    assert encoder is not None and decoder is not None
    keys = {name: [key.removeprefix(f"{name}.") for key in half(CONFIG, name)] for name in ("encoder", "decoder")}
    assert encoder.prefixes(keys["encoder"]) == {"": len(keys["encoder"])}
    assert decoder.prefixes(keys["decoder"]) == {"": len(keys["decoder"])}
    assert encoder.prefixes(keys["decoder"]) == decoder.prefixes(keys["encoder"]) == {}
    assert encoder.prefixes([f"vae.{key}" for key in keys["encoder"]]) == {}


def test_settings_of_autoencoder_tiny() -> None:
    result = settings(CONFIG, None)
    assert result["_class_name"] == "AutoencoderTiny"
    assert (result["num_encoder_blocks"], result["num_decoder_blocks"]) == ([1, 2], [2, 1])
    assert (result["encoder_block_out_channels"], result["latent_channels"]) == ([8, 8], 4)
    assert FAMILY.normalization_from_settings(result) is None, "its factor of 1 tells nothing"


@pytest.mark.parametrize("config", [replace(CONFIG, pool=True), STEM, replace(CONFIG, decoder_widths=(8, 16))])
def test_networks_that_diffusers_cannot_build_are_refused(config: TinyConfig) -> None:
    with refuses(WrongTensors, "AutoencoderTiny", '"native" or "tiny"'):
        settings(config, None)
