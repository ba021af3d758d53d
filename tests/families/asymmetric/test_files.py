"""Files of asymmetric autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.asymmetric.files import FAMILY, detect_asymmetric, settings
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.normalization import LatentNormalization

CONFIG = AsymmetricConfig(3, 4, 4, (32, 32, 64, 64), (32, 64, 128, 128), 1, 3, (), (), True, True, True, 32)
SHAPES = native_shapes(CONFIG)
SD1 = LatentNormalization((0.0,), (0.18215,))


def test_the_config_is_read_off_the_shapes() -> None:
    assert detect_asymmetric(SHAPES) == CONFIG
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    assert detect_asymmetric(decoder) == replace(CONFIG, encoder_widths=(32, 64, 128, 128), encoder_blocks=2)
    assert detect_asymmetric({}) is None


def test_the_condition_encoder_tells_it_from_a_kl_autoencoder() -> None:
    assert FAMILY.claims(SHAPES)
    assert not FAMILY.claims([key for key in SHAPES if "condition_encoder" not in key])


@pytest.mark.parametrize(
    ("name", "query", "condition"),
    [
        ("ldm", "decoder.mid.attn_1.q.weight", "decoder.encoder.layers.1.weight"),
        ("diffusers", "decoder.mid_block.attentions.0.to_q.weight", "decoder.condition_encoder.layers.1.weight"),
        ("diffusers-old", "decoder.mid_block.attentions.0.query.weight", "decoder.condition_encoder.layers.1.weight"),
        ("native", "decoder.mid.attn_1.q.weight", "decoder.condition_encoder.layers.1.weight"),
    ],
)
def test_names(name: str, query: str, condition: str) -> None:
    layout = layout_of(name, "asymmetric")
    assert layout is not None
    named = {"decoder.mid.attn_1.q.weight": query, "decoder.condition_encoder.layers.1.weight": condition}
    assert_names(layout, CONFIG, named)
    assert layout.is_matrix("decoder.mid.attn_1.q.weight") == name.startswith("diffusers")


def test_settings_of_diffusers() -> None:
    result = settings(CONFIG, SD1)
    assert result["_class_name"] == "AsymmetricAutoencoderKL"
    assert result["down_block_out_channels"] == [32, 32, 64, 64]
    assert result["up_block_out_channels"] == [32, 64, 128, 128]
    assert (result["layers_per_down_block"], result["layers_per_up_block"]) == (1, 2)
    assert (result["latent_channels"], result["scaling_factor"]) == (4, 0.18215)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, padding="reflect"),
        replace(CONFIG, quant_conv=False),
        replace(CONFIG, hidden_channels=8),
        replace(CONFIG, mid_attention=False),
        replace(CONFIG, decoder_widths=(32, 64, 64, 128)),
        replace(CONFIG, decoder_widths=(32, 64, 128)),
    ],
)
def test_networks_that_diffusers_cannot_build_are_refused(config: AsymmetricConfig) -> None:
    with refuses(WrongTensors, "AsymmetricAutoencoderKL", "ldm", "native"):
        settings(config, SD1)
