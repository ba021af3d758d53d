"""Files of representation autoencoders: names, detection, and the settings of diffusers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from one_frame import WEIGHTS, half_of, image
from refusals import refuses
from safetensors.torch import load_file
from shapes_of_configs import assert_names, native_shapes

from vaekit import load, save
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import layout_of
from vaekit.families.rae.files import assumed, detect_rae, filled, normalization_of, settings, whole, with_stated_fields
from vaekit.families.rae.net import RAEConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

CONFIG = RAEConfig(3, 64, 1, 96, 14, 5, 4, 32, 2, 48, 16, 16, 4, (64, 4, 4))
SHAPES = native_shapes(CONFIG)


@torch.no_grad()
def test_all_layouts_keep_every_bit_and_diffusers_opens_the_result(pair: tuple[Any, Path], tmp_path: Path) -> None:
    theirs, folder = pair
    save(load(folder), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = (load_file(each / WEIGHTS) for each in (folder, tmp_path / "again"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and before[key].shape == after[key].shape for key in before)
    opened = diffusers.AutoencoderRAE.from_pretrained(tmp_path / "again").eval()
    x = image(3, 64, 64)
    assert torch.equal(opened.encode(x).latent, theirs.encode(x).latent)
    assert torch.equal(opened.decode(opened.encode(x).latent).sample, theirs.decode(theirs.encode(x).latent).sample)


def test_the_config_is_read_off_file_and_settings(pair: tuple[Any, Path]) -> None:
    theirs, folder = pair
    identified = identify(folder)
    assert identified.config.decoder_heads == theirs.config.decoder_num_attention_heads
    assert identified.config.grid**2 == theirs.num_patches
    assert identified.normalization == LatentNormalization((0.0,), (theirs.config.scaling_factor,))


def test_the_config_is_read_off_the_shapes() -> None:
    assert detect_rae(SHAPES) == CONFIG
    decoder = detect_rae(half_of(SHAPES, "decoder"))
    assert decoder == replace(CONFIG, encoder_layers=12, encoder_hidden=256, encoder_positions=37)
    encoder = detect_rae(half_of(SHAPES, "encoder"))
    assert encoder is not None
    assert (encoder.encoder_hidden, encoder.encoder_positions, encoder.latent_channels) == (96, 5, 64)
    assert (encoder.decoder_width, encoder.decoder_layers, encoder.patch) == (1152, 28, 16)


def test_near_misses_are_none() -> None:
    assert detect_rae({}) is None
    assert detect_rae(half_of(SHAPES, "encoder") | {"encoder.cls_token": (1, 1, 60)}) is None
    assert detect_rae(SHAPES | {"decoder.pred.bias": (700,)}) is None
    assert detect_rae(SHAPES | {"decoder.embed.weight": (32, 60)}) is None


KEYS = (
    "encoder.register_tokens",
    "encoder.layers.0.attn.q.weight",
    "encoder.layers.0.scale2",
    "decoder.layers.1.attn.proj_out.bias",
    "decoder.statistics.latents_mean",
)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("diffusers", "encoder.encoder.layer.0.attention.q_proj.weight"),
        ("diffusers-old", "encoder.encoder.layer.0.attention.attention.query.weight"),
    ],
)
def test_names(name: str, query: str) -> None:
    """transformers 5 has other names than those before."""
    layout = layout_of(name, "rae")
    assert layout is not None
    foreign = (
        "encoder.embeddings.register_tokens",
        query,
        "encoder.encoder.layer.0.layer_scale2.lambda1",
        "decoder.decoder_layers.1.attention.to_out.0.bias",
        "_latents_mean",
    )
    assert_names(layout, CONFIG, dict(zip(KEYS, foreign, strict=True)))


def test_what_weights_do_not_determine_is_stated_or_published() -> None:
    changed = with_stated_fields(CONFIG, {}, {"decoder_num_attention_heads": 4})
    assert changed == replace(CONFIG, decoder_heads=4)
    plain = replace(CONFIG, statistics=(1,))
    assert with_stated_fields(plain, {}, {"encoder_input_size": 70, "encoder_patch_size": 14}).grid == 5
    assert with_stated_fields(plain, {"grid": 3, "decoder_heads": 8}, {}) == replace(plain, grid=3, decoder_heads=8)
    for fields in ({"decoder_num_attention_heads": 5}, {"encoder_input_size": 70, "encoder_patch_size": 14}):
        with refuses(UnknownVAE):
            with_stated_fields(CONFIG, {}, fields)
    assert assumed(CONFIG) and not assumed(replace(CONFIG, decoder_width=1152))
    assert (whole(3), whole(0), whole(True), whole("3")) == (3, None, None, None)


def test_the_normalization_is_the_factor_alone() -> None:
    assert normalization_of({}) is None
    assert normalization_of({"scaling_factor": 2.0, "latents_mean": [[[0.0]]]}) == LatentNormalization((0.0,), (2.0,))


def test_settings_have_the_shape_of_the_statistics() -> None:
    config = replace(CONFIG, encoder_hidden=256, encoder_positions=37)
    result = settings(config, LatentNormalization((0.0,), (0.5,)))
    assert torch.tensor(result["latents_mean"]).shape == (64, 4, 4)
    assert (result["scaling_factor"], result["encoder_input_size"]) == (0.5, 56)
    assert settings(replace(config, statistics=(1,)), None)["latents_std"] is None
    assert json.dumps(filled(1.0, (2, 1))) == "[[1.0], [1.0]]"


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, encoder_hidden=256, encoder_positions=37, registers=3)])
def test_what_diffusers_cannot_express_is_refused(config: RAEConfig) -> None:
    with refuses(WrongTensors, "AutoencoderRAE"):
        settings(config, None)
