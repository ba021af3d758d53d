"""Files of KVAE-Audio: names, detection, and the settings of diffusers."""

import json
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from refusals import refuses
from safetensors.torch import load_file, save_file
from shapes_of_configs import assert_names, native_shapes
from torch import nn

from vaekit import load, save
from vaekit.audio_format import AudioFormat
from vaekit.errors import UnknownVAE, WrongTensors
from vaekit.families import assemble, family_of, layout_of
from vaekit.families.kvae_audio.files import FAMILY, detect_kvae_audio, settings
from vaekit.families.kvae_audio.net import KVAEAudioConfig
from vaekit.identification.identify import identify
from vaekit.normalization import LatentNormalization

WEIGHTS = "diffusion_pytorch_model.safetensors"
CONFIG = KVAEAudioConfig(1, 4, (4, 8, 16), (24, 12, 6), (2, 3), True, 0, 16, 8)
SHAPES = native_shapes(CONFIG)


def test_both_layouts_keep_every_bit_and_diffusers_opens_the_result(
    pair: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    theirs, folder = pair
    found = identify(folder)
    assert (found.family.name, found.contradictions) == ("kvae-audio", "")
    assert FAMILY.audio(found.config) == AudioFormat(theirs.config.sample_rate, theirs.config.num_channels)
    save(load(folder), tmp_path / "native.safetensors", "native")
    save(load(tmp_path / "native.safetensors"), tmp_path / "again", "diffusers")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again = diffusers.AutoencoderKLKVAEAudio.from_pretrained(tmp_path / "again")
    names = [name for name in theirs.config if not name.startswith("_")]
    assert {name: again.config[name] for name in names} == {name: theirs.config[name] for name in names}


def test_names() -> None:
    layout = layout_of("diffusers", "kvae-audio")
    assert layout is not None
    names = {
        "encoder.attn.to_out.bias": "attn.to_out.0.bias",
        "encoder.in_proj.weight_g": "in_proj.parametrizations.weight.original0",
        "decoder.out_proj.bias": "out_proj.bias",
        "decoder.block.1.conv_t1.weight_v": "decoder.block.1.conv_t1.parametrizations.weight.original1",
    }
    assert_names(layout, CONFIG, names)


@pytest.mark.parametrize("weight_norm", [True, False])
def test_the_config_is_read_off_either_half(weight_norm: bool) -> None:
    config = replace(CONFIG, weight_norm=weight_norm)
    shapes = native_shapes(config)
    assert detect_kvae_audio(shapes) == config
    encoder = {key: shape for key, shape in shapes.items() if key.startswith("encoder")}
    assert detect_kvae_audio(encoder) == replace(config, decoder_widths=(16, 8, 4))
    decoder = {key: shape for key, shape in shapes.items() if key.startswith("decoder")}
    assert detect_kvae_audio(decoder) == replace(config, encoder_widths=(6, 12, 24))
    assert detect_kvae_audio({}) is None


@pytest.mark.parametrize("key", ["encoder.attn.to_q.weight", "encoder.in_proj.weight_v", "decoder.out_proj.weight_v"])
def test_a_missing_tensor_is_named(key: str, tmp_path: Path) -> None:
    tensors = assemble(family_of("kvae-audio"), CONFIG).state_dict()
    del tensors[key]
    save_file(tensors, tmp_path / "damaged.safetensors")
    with refuses(WrongTensors, "kvae-audio", key):
        identify(tmp_path / "damaged.safetensors")


def test_heads_are_stated_or_assumed(tmp_path: Path) -> None:
    config = replace(CONFIG, heads=4, sample_rate=48_000)
    vae = assemble(family_of("kvae-audio"), config)
    save(vae, tmp_path / "stated.safetensors")
    assert load(tmp_path / "stated.safetensors").config == config
    folder = tmp_path / "folder"
    save(vae, folder, "diffusers")
    stated = json.loads((folder / "config.json").read_text())
    assert stated["attn_num_heads"] == 4
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS)  # without vaekit's metadata
    assert identify(folder).config == config
    (folder / "config.json").write_text(json.dumps(stated | {"attn_num_heads": 3}))
    with refuses(UnknownVAE, "3 attention heads"):
        identify(folder)
    alone = identify(folder / WEIGHTS)
    assert alone.config.heads == 8 and any("heads" in warning for warning in FAMILY.assumed(alone.config))


@pytest.mark.parametrize(
    ("config", "normalization"),
    [
        (replace(CONFIG, decoder_widths=(24, 12, 12)), None),
        (replace(CONFIG, weight_norm=False), None),
        (CONFIG, LatentNormalization((0.0,), (0.5,))),
    ],
)
def test_what_diffusers_cannot_express_is_refused(
    config: KVAEAudioConfig, normalization: LatentNormalization | None
) -> None:
    with refuses(WrongTensors, "AutoencoderKLKVAEAudio"):
        settings(config, normalization)
