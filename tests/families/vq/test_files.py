"""Files of vector-quantized autoencoders: names, detection, and the settings of diffusers."""

from dataclasses import replace

import pytest
from refusals import refuses
from shapes_of_configs import assert_names, native_shapes

from vaekit.distributions import UniformCodes
from vaekit.errors import WrongTensors
from vaekit.families import layout_of
from vaekit.families.vq.files import CODEBOOK, FAMILY, detect_vq, settings
from vaekit.families.vq.net import VQConfig
from vaekit.normalization import LatentNormalization

CONFIG = VQConfig(3, 4, 6, (32, 64), (32, 64), 1, 2, (1,), (1,), True, True, True, 32, codes=12)
SHAPES = native_shapes(CONFIG)


@pytest.mark.parametrize("half", ["encoder", "decoder", ""])
def test_the_config_is_read_off_either_half_with_the_codebook(half: str) -> None:
    shapes = {key: shape for key, shape in SHAPES.items() if key.startswith((half, CODEBOOK))}
    assert detect_vq(shapes) == CONFIG


@pytest.mark.parametrize("shape", [None, (), (12,), (12, 4, 1), (0, 4)])
def test_without_a_codebook_it_is_none(shape: tuple[int, ...] | None) -> None:
    rest = {key: size for key, size in SHAPES.items() if key != CODEBOOK}
    assert detect_vq(rest if shape is None else rest | {CODEBOOK: shape}) is None
    assert not FAMILY.claims(rest)
    assert FAMILY.claims(SHAPES)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("ldm", "decoder.up.0.attn.0.q.weight"),
        ("diffusers", "decoder.up_blocks.1.attentions.0.to_q.weight"),
        ("diffusers-old", "decoder.up_blocks.1.attentions.0.query.weight"),
    ],
)
def test_names(name: str, query: str) -> None:
    layout = layout_of(name, "vq")
    assert layout is not None
    config = replace(CONFIG, decoder_attention=(0, 1))
    assert_names(layout, config, {CODEBOOK: "quantize.embedding.weight", "decoder.up.0.attn.0.q.weight": query})


def test_settings_of_vq_model() -> None:
    result = settings(CONFIG, None)
    assert result["_class_name"] == "VQModel"
    assert (result["latent_channels"], result["vq_embed_dim"], result["num_vq_embeddings"]) == (6, 4, 12)
    assert result["scaling_factor"] is None
    with refuses(WrongTensors, "VQModel"):
        settings(replace(CONFIG, quant_conv=False, hidden_channels=4), None)
    with refuses(WrongTensors, "VQModel"):
        settings(CONFIG, LatentNormalization((0.5,), (1.0,)))


def test_its_prior_is_uniform_over_the_codes() -> None:
    prior = FAMILY.prior_head(CONFIG)
    assert prior is not None and prior(FAMILY.posterior_head(CONFIG)) == UniformCodes(12)
