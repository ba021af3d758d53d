"""Files of VibeVoice's acoustic tokenizer: names, detection, and what config.json states."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import native_shapes
from torch import nn

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of
from vaekit.families.vibevoice.files import FAMILY, detect_vibevoice
from vaekit.families.vibevoice.net import VibeVoiceConfig
from vaekit.identification.identify import identify

CONFIG = VibeVoiceConfig(1, 4, (4, 8, 16), (2, 6, 8), (2, 5), (1, 2, 1), (3, 1, 2), 7, 4, 0.625, 0)
SHAPES = native_shapes(CONFIG)


def test_files_keep_every_bit(pair: tuple[nn.Module, Path], tmp_path: Path) -> None:
    theirs, folder = pair
    found = identify(folder)
    assert (found.family.name, found.config.std) == ("vibevoice", theirs.config.vae_std)
    save(load(folder), tmp_path / "native.safetensors", "native")
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "native.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert load(tmp_path / "native.safetensors").config == found.config


def test_the_config_is_read_off_either_half() -> None:
    assert detect_vibevoice(SHAPES) == CONFIG
    encoder = {key: shape for key, shape in SHAPES.items() if key.startswith("encoder")}
    assert detect_vibevoice(encoder) == replace(CONFIG, decoder_widths=(4, 8, 16), decoder_depths=(1, 2, 1))
    decoder = {key: shape for key, shape in SHAPES.items() if key.startswith("decoder")}
    assert detect_vibevoice(decoder) == replace(CONFIG, encoder_widths=(2, 6, 8), encoder_depths=(3, 1, 2))
    assert detect_vibevoice({}) is None
    assert detect_vibevoice(SHAPES | {"encoder.conv_layers.0.conv.conv.weight": (8, 4, 8)}) is None


@pytest.mark.parametrize("key", ["encoder.stem.stage.0.gamma", "decoder.conv_layers.1.convtr.convtr.bias"])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("vibevoice"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "vibevoice", key):
        identify(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize("std", [0, -1.0, "wide", [0.5], True])
def test_an_impossible_standard_deviation_is_refused(std: object, tmp_path: Path) -> None:
    save_file(assemble(family_of("vibevoice"), CONFIG).state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"vae_std": std}))
    with refuses(UnknownVAE, "standard deviation"):
        identify(tmp_path)


def test_the_format_of_the_published_one() -> None:
    published = replace(
        CONFIG,
        strides=(2, 2, 4, 5, 5, 8),
        **dict.fromkeys(("encoder_widths", "decoder_widths", "encoder_depths", "decoder_depths"), (2,) * 7),
    )
    found = detect_vibevoice(native_shapes(published))
    assert found is not None and FAMILY.audio(found) == AudioFormat(24_000, 1)
    assert len(FAMILY.assumed(CONFIG)) == 2
