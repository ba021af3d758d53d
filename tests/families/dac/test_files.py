"""Files of DAC: names, detection, sample rates."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

import vaekit
from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.dac.files import FAMILY, STAGES, detect_dac
from vaekit.families.dac.net import DACConfig
from vaekit.identification.identify import identify

CONFIG = DACConfig(1, 16, (4, 8, 16), (24, 12, 6), (2, 5), True, 0, 12, 3, 5)
SHAPES = native_shapes(CONFIG)


def test_layouts_keep_every_bit(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = pair
    found = identify(folder)
    normed = any("parametrizations" in key for key in theirs.state_dict())
    assert found.family.name == "dac" and found.config.weight_norm == normed
    assert FAMILY.audio(found.config) == AudioFormat(theirs.config.sampling_rate, 1)
    save(load(folder), tmp_path / "original.safetensors", "original")
    save(load(tmp_path / "original.safetensors"), tmp_path / "native.safetensors", "native")
    before, after = load(folder).state_dict(), load(tmp_path / "native.safetensors").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert load(tmp_path / "native.safetensors").config == found.config


def test_names_of_the_authors() -> None:
    layout = layout_of("original", "dac")
    assert layout is not None
    names = {
        "encoder.conv1.weight_v": "encoder.block.0.weight_v",
        "encoder.block.1.res_unit3.conv2.weight_g": "encoder.block.2.block.2.block.3.weight_g",
        "encoder.block.0.snake1.alpha": "encoder.block.1.block.3.alpha",
        "encoder.snake1.alpha": "encoder.block.3.alpha",
        "encoder.conv2.bias": "encoder.block.4.bias",
        "decoder.block.0.conv_t1.weight_v": "decoder.model.1.block.1.weight_v",
        "decoder.block.1.res_unit1.snake1.alpha": "decoder.model.2.block.2.block.0.alpha",
        "decoder.conv2.weight_v": "decoder.model.4.weight_v",
        f"{STAGES}2.codebook": "quantizer.quantizers.2.codebook.weight",
        f"{STAGES}1.out_proj.weight_g": "quantizer.quantizers.1.out_proj.weight_g",
    }
    assert_names(layout, CONFIG, names)


@pytest.mark.parametrize("weight_norm", [True, False])
def test_the_config_is_read_off_either_half_with_the_quantizer(weight_norm: bool) -> None:
    config = replace(CONFIG, weight_norm=weight_norm)
    shapes = native_shapes(config)
    assert detect_dac(shapes) == config
    encoder = {key: shape for key, shape in shapes.items() if not key.startswith("decoder")}
    assert detect_dac(encoder) == replace(config, decoder_widths=(16, 8, 4))
    decoder = {key: shape for key, shape in shapes.items() if not key.startswith("encoder")}
    assert detect_dac(decoder) == replace(config, encoder_widths=(6, 12, 24))


def test_without_codebooks_it_is_none() -> None:
    rest = {key: shape for key, shape in SHAPES.items() if not key.startswith(STAGES)}
    assert detect_dac(rest) is None and not FAMILY.claims(rest)
    assert detect_dac({key: shape for key, shape in SHAPES.items() if key.startswith(STAGES)}) is None
    assert detect_dac(SHAPES | {f"{STAGES}0.codebook": (12,)}) is None


@pytest.mark.parametrize("key", [f"{STAGES}1.codebook", f"{STAGES}2.in_proj.weight_v", "encoder.block.0.snake1.alpha"])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("dac"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "dac", key):
        identify(tmp_path / "damaged.safetensors")


def test_inspected(pair: tuple[nn.Module, Path]) -> None:
    theirs, folder = pair
    inspected = vaekit.inspect(folder)
    assert (inspected.family, inspected.layout.partition("-")[0]) == ("dac", "transformers")
    assert inspected.latent_channels == theirs.config.hidden_size
    assert len(load_file(folder / "model.safetensors")) == len(load(folder).state_dict())
